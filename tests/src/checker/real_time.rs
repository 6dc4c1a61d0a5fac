//! I6: a send that began when another was answered already, or when anybody had
//! seen an entry already, has a higher number than that.

use super::{Verdict, broken};
use crate::history::{At, Conversation, History};

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
    for conversation in &history.conversations {
        facts += follow(history, conversation)?;
    }
    Ok(facts)
}

/// An entry that is known to be in the log.
#[derive(Clone, Copy)]
struct Known {
    t: u64,
    seq: i64,
    answered: bool,
}

fn follow(history: &History, conversation: &Conversation) -> Verdict {
    let answers = conversation.sends.iter().filter_map(|send| {
        let send = history.send(*send);
        Some(Known {
            t: send.answered?,
            seq: send.seq?,
            answered: true,
        })
    });
    let mut answers: Vec<Known> = answers.collect();
    answers.sort_by_key(|known| known.t);
    let mut answers = answers.into_iter().peekable();
    let sightings = conversation.sightings.iter().map(|sighting| Known {
        t: sighting.t,
        seq: sighting.seq,
        answered: false,
    });
    let mut sightings = sightings.peekable();
    let mut highest: Option<Known> = None;
    let mut facts = 0;
    for send in &conversation.sends {
        let send = history.send(*send);
        let (Some(invoked), Some(seq)) = (send.invoked, send.seq) else {
            continue;
        };
        let answered = std::iter::from_fn(|| answers.next_if(|known| known.t < invoked));
        let seen = std::iter::from_fn(|| sightings.next_if(|known| known.t < invoked));
        highest = answered
            .chain(seen)
            .chain(highest)
            .max_by_key(|known| known.seq);
        if let Some(known) = highest
            && known.seq >= seq
        {
            broken!(
                "in {}, the send {} of {} began at {} and is number {seq}, but number {} was {} at {}",
                conversation.id,
                send.client_id,
                history.name(send.client),
                At(invoked),
                known.seq,
                if known.answered { "answered" } else { "seen" },
                At(known.t)
            );
        }
        facts += 1;
    }
    Ok(facts)
}
