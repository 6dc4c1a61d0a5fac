//! I7: what a client has seen or was answered stays: its view never goes back, and
//! a greeting on a new connection, of whatever pod, is never behind it.

use std::collections::HashMap;

use super::{Verdict, broken};
use crate::history::{At, ClientIx, Conversation, History, Place, Source};

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
    for conversation in &history.conversations {
        facts += forward(history, conversation)?;
        facts += greetings(history, conversation)?;
    }
    Ok(facts)
}

fn forward(history: &History, conversation: &Conversation) -> Verdict {
    let mut facts = 0;
    let mut tops: HashMap<ClientIx, i64> = HashMap::new();
    for sighting in &conversation.sightings {
        if sighting.place != Place::View {
            continue;
        }
        facts += 1;
        let top = tops.entry(sighting.client).or_default();
        if sighting.seq <= *top {
            broken!(
                "{} went back in {}: it showed number {top}, and then, at {}, number {}",
                history.name(sighting.client),
                conversation.id,
                At(sighting.t),
                sighting.seq
            );
        }
        *top = sighting.seq;
    }
    Ok(facts)
}

fn greetings(history: &History, conversation: &Conversation) -> Verdict {
    let mut asked: Vec<_> = conversation
        .standings
        .iter()
        .filter_map(|standing| {
            let Source::Hello(number) = standing.source else {
                return None;
            };
            let connections = &history.client(standing.client).connections;
            let connection = connections.iter().find(|known| known.number == number)?;
            Some((connection.asked, standing))
        })
        .collect();
    asked.sort_by_key(|(asked, _)| *asked);
    let answers = conversation.sends.iter().filter_map(|send| {
        let send = history.send(*send);
        Some((send.answered?, send.client, send.answered_seq?))
    });
    let views = conversation
        .sightings
        .iter()
        .filter(|sighting| sighting.place == Place::View);
    let mut known: Vec<_> = answers
        .chain(views.map(|view| (view.t, view.client, view.seq)))
        .collect();
    known.sort_by_key(|(t, ..)| *t);
    let mut known = known.into_iter().peekable();
    let mut tops: HashMap<ClientIx, i64> = HashMap::new();
    for (asked, hello) in &asked {
        while let Some((_, client, seq)) = known.next_if(|(t, ..)| t < asked) {
            let top = tops.entry(client).or_default();
            *top = seq.max(*top);
        }
        let top = tops.get(&hello.client).copied().unwrap_or_default();
        if hello.seq < top {
            broken!(
                "{} knew number {top} of {} before it connected at {}, and was greeted with {}",
                history.name(hello.client),
                conversation.id,
                At(*asked),
                hello.seq
            );
        }
    }
    Ok(asked.len() as u64)
}
