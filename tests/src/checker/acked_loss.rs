//! I1: each acknowledged send is in the database once, with its text, and in the
//! final view of every member.

use std::collections::HashMap;

use super::{Verdict, broken};
use crate::history::{
    At, ClientIx, Content, Conversation, Entered, History, Place, SendIx, Source, Via,
};

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
    if !history.is_closed() {
        return Ok(facts);
    }
    for conversation in &history.conversations {
        // What was refused afterwards was acknowledged as well.
        let acknowledged: Vec<SendIx> = conversation
            .sends
            .iter()
            .copied()
            .filter(|send| history.send(*send).answered.is_some())
            .collect();
        facts += stored(history, conversation, &acknowledged)?;
        for (reader, seen) in readers(conversation) {
            facts += shown(history, conversation, reader, &seen)?;
        }
    }
    Ok(facts)
}

fn stored(history: &History, conversation: &Conversation, acknowledged: &[SendIx]) -> Verdict {
    let mut rows: HashMap<SendIx, &Entered> = HashMap::with_capacity(conversation.log.len());
    for row in &conversation.log {
        let Some(send) = history.sent(row.content) else {
            continue;
        };
        if let Some(first) = rows.insert(send, row) {
            broken!(
                "{} is in the log of {} twice, as {} and {}",
                history.describe(row.content),
                conversation.id,
                first.seq,
                row.seq
            );
        }
    }
    for send in acknowledged {
        let Some(row) = rows.get(send) else {
            broken!("{}: the log does not have it", told(history, *send));
        };
        if let Content::Message { hash, .. } = history.content(row.content)
            && hash != history.send(*send).hash
        {
            broken!(
                "{}: the log has it with another text, {hash}",
                told(history, *send)
            );
        }
    }
    Ok(acknowledged.len() as u64)
}

type Reader = (ClientIx, Via);

/// Who read the log to its end, and which rows each of them saw.
fn readers(conversation: &Conversation) -> HashMap<Reader, Vec<bool>> {
    let rows = conversation.log.len();
    let ended = conversation.standings.iter();
    let mut readers: HashMap<Reader, Vec<bool>> = ended
        .filter_map(|standing| match standing.source {
            Source::Final(via @ (Via::Rest | Via::View)) => Some((standing.client, via)),
            _ => None,
        })
        .map(|reader| (reader, vec![false; rows]))
        .collect();
    for sighting in &conversation.sightings {
        let via = match sighting.place {
            Place::View => Via::View,
            Place::Rest => Via::Rest,
            Place::Wire | Place::Database => continue,
        };
        let row = conversation
            .log
            .binary_search_by_key(&sighting.seq, |row| row.seq);
        if let (Some(seen), Ok(row)) = (readers.get_mut(&(sighting.client, via)), row) {
            seen[row] |= conversation.log[row].content == sighting.content;
        }
    }
    readers
}

fn shown(
    history: &History,
    conversation: &Conversation,
    (client, via): Reader,
    seen: &[bool],
) -> Verdict {
    for (row, _) in conversation
        .log
        .iter()
        .zip(seen)
        .filter(|(_, seen)| !**seen)
    {
        if let Some(send) = history.sent(row.content)
            && history.send(send).answered.is_some()
        {
            broken!(
                "{}: it is number {}, and {} does not have it in the end ({via:?})",
                told(history, send),
                row.seq,
                history.name(client)
            );
        }
    }
    Ok(seen.len() as u64)
}

fn told(history: &History, send: SendIx) -> String {
    let send = history.send(send);
    format!(
        "the send {} of {} in {} was acknowledged at {}",
        send.client_id,
        history.name(send.client),
        history.conversations[send.conversation].id,
        At(send.answered.unwrap_or_default())
    )
}
