//! I10: the mark of a reader never falls, never stands past the end of the log, and
//! is at least what was answered.

use std::collections::HashMap;

use super::{Verdict, broken};
use crate::history::{At, Content, Conversation, History, UserIx};

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
    if history.is_closed() {
        for conversation in &history.conversations {
            facts += receipts(history, conversation)?;
        }
    }
    Ok(facts)
}

/// The mark of each reader, as the entries of the log say.
pub fn marks(history: &History, conversation: &Conversation) -> HashMap<UserIx, i64> {
    let mut marks = HashMap::new();
    for row in &conversation.log {
        if let Content::Read { by, up_to } = history.content(row.content) {
            let mark = marks.entry(by).or_insert(up_to);
            *mark = up_to.max(*mark);
        }
    }
    marks
}

fn receipts(history: &History, conversation: &Conversation) -> Verdict {
    let id = conversation.id;
    let mut reached: HashMap<UserIx, i64> = HashMap::new();
    for row in &conversation.log {
        let Content::Read { by, up_to } = history.content(row.content) else {
            continue;
        };
        let before = reached.insert(by, up_to).unwrap_or_default();
        if up_to < before {
            broken!(
                "number {} of {id} takes the mark of user {} back from {before} to {up_to}",
                row.seq,
                history.user(by)
            );
        }
        if up_to >= row.seq {
            broken!(
                "number {} of {id} says that user {} has read up to {up_to}, which was not there yet",
                row.seq,
                history.user(by)
            );
        }
    }
    let ends: HashMap<_, _> = conversation
        .marks
        .iter()
        .map(|mark| (mark.user, mark.up_to))
        .collect();
    for (user, up_to) in &reached {
        if let Some(end) = ends.get(user)
            && end != up_to
        {
            broken!(
                "user {} has read {id} up to {up_to} by its log, and up to {end} by the table",
                history.user(*user)
            );
        }
    }
    for read in &conversation.reads {
        let end = reached.get(&read.user).copied().unwrap_or_default();
        if end < read.up_to {
            broken!(
                "user {} was told at {} that {id} is read up to {}, and in the end it is read up to {end}",
                history.user(read.user),
                At(read.t),
                read.up_to
            );
        }
    }
    Ok((reached.len() + conversation.reads.len()) as u64)
}
