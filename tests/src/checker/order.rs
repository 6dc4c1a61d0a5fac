//! I4: a number of a log means the same entry for every client, socket, page and
//! table.

use std::collections::HashMap;

use super::{Verdict, broken};
use crate::history::{At, History, Sighting};

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
    let mut entries: HashMap<i64, &Sighting> = HashMap::new();
    for conversation in &history.conversations {
        entries.clear();
        for sighting in &conversation.sightings {
            let first = *entries.entry(sighting.seq).or_insert(sighting);
            if first.content != sighting.content {
                broken!(
                    "number {} of {} is {} for {} at {}, and {} for {} at {}",
                    sighting.seq,
                    conversation.id,
                    history.describe(first.content),
                    history.name(first.client),
                    At(first.t),
                    history.describe(sighting.content),
                    history.name(sighting.client),
                    At(sighting.t)
                );
            }
        }
        facts += conversation.sightings.len() as u64;
    }
    for send in &history.sends {
        if let (Some(answered), Some(seq)) = (send.answered_seq, send.seq)
            && answered != seq
        {
            broken!(
                "the send {} was answered with number {answered}, and is number {seq}",
                send.client_id
            );
        }
    }
    Ok(facts)
}
