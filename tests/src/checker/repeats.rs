//! I3: a send becomes one message, and each view, page and table has it once.
//! Repeats on the wire are a cost, not a fault.

use std::collections::{HashMap, HashSet};

use super::{Verdict, broken};
use crate::history::{At, ClientIx, Content, History, Place, SendIx};

pub fn check(history: &History) -> Verdict {
    one_message(history)?;
    let mut facts = 0;
    let mut shown: HashMap<(SendIx, ClientIx, Place), i64> = HashMap::new();
    for conversation in &history.conversations {
        shown.clear();
        for sighting in &conversation.sightings {
            let Some(send) = history.sent(sighting.content) else {
                continue;
            };
            if sighting.place == Place::Wire {
                continue;
            }
            facts += 1;
            let key = (send, sighting.client, sighting.place);
            if let Some(first) = shown.insert(key, sighting.seq) {
                broken!(
                    "{} in {}: {} has it twice ({:?}), as number {first} and, at {}, as number {}",
                    history.describe(sighting.content),
                    conversation.id,
                    history.name(sighting.client),
                    sighting.place,
                    At(sighting.t),
                    sighting.seq
                );
            }
        }
    }
    Ok(facts)
}

fn one_message(history: &History) -> Verdict {
    let mut ids = vec![None; history.sends.len()];
    for content in &history.contents {
        let Content::Message {
            send, message_id, ..
        } = *content
        else {
            continue;
        };
        let first = *ids[send.index()].get_or_insert(message_id);
        if first != message_id {
            broken!(
                "the send {} became two messages, {first} and {message_id}",
                history.send(send).client_id
            );
        }
    }
    Ok(history.contents.len() as u64)
}

/// Frames that told a client what it had heard already.
pub fn on_the_wire(history: &History) -> usize {
    let mut heard = HashSet::new();
    let repeats = history.conversations.iter().map(|conversation| {
        heard.clear();
        let frames = conversation.sightings.iter();
        let frames = frames.filter(|sighting| sighting.place == Place::Wire);
        frames
            .filter(|frame| !heard.insert((frame.client, frame.seq)))
            .count()
    });
    repeats.sum()
}
