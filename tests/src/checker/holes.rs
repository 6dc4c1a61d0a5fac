//! I5: the numbers of a log are 1 to n, its counter says n, and no view goes past
//! a hole.

use std::collections::HashMap;

use super::{Verdict, broken};
use crate::history::{At, ClientIx, Conversation, History, Place};

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
    for conversation in &history.conversations {
        if let Some(last) = conversation.last_seq() {
            facts += table(conversation, last)?;
        }
        facts += views(history, conversation)?;
    }
    Ok(facts)
}

fn table(conversation: &Conversation, last: i64) -> Verdict {
    let id = conversation.id;
    for (row, expected) in conversation.log.iter().zip(1..) {
        if row.seq != expected {
            broken!(
                "the log of {id} has number {} where {expected} belongs",
                row.seq
            );
        }
    }
    let count = conversation.log.len();
    if last != count as i64 {
        broken!("the log of {id} has {count} entries, and its counter says {last}");
    }
    Ok(count as u64)
}

fn views(history: &History, conversation: &Conversation) -> Verdict {
    let mut facts = 0;
    let mut tops: HashMap<ClientIx, i64> = HashMap::new();
    for sighting in &conversation.sightings {
        if sighting.place != Place::View {
            continue;
        }
        facts += 1;
        let top = tops.entry(sighting.client).or_default();
        if sighting.seq > *top + 1 {
            broken!(
                "{} shows number {} of {} at {}, and nothing between it and {top}",
                history.name(sighting.client),
                sighting.seq,
                conversation.id,
                At(sighting.t)
            );
        }
        *top = sighting.seq.max(*top);
    }
    Ok(facts)
}
