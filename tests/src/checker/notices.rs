//! I16: each message makes exactly one notice for each other member, and none for
//! anybody else.

use std::collections::HashMap;

use super::{Verdict, broken};
use crate::history::{Content, Conversation, History, UserIx};

pub fn check(history: &History) -> Verdict {
    let Some(expected) = history.finals.notice_count else {
        return Ok(0);
    };
    let mut found = 0;
    for conversation in &history.conversations {
        found += notices(history, conversation)?;
    }
    if found != expected as u64 {
        broken!("{expected} notices were counted, and {found} were read");
    }
    Ok(found)
}

fn notices(history: &History, conversation: &Conversation) -> Verdict {
    let id = conversation.id;
    let mut copies: HashMap<(UserIx, i64), u32> = HashMap::new();
    for (user, seq) in &conversation.notices {
        *copies.entry((*user, *seq)).or_default() += 1;
    }
    for row in &conversation.log {
        let Content::Message { by, .. } = history.content(row.content) else {
            continue;
        };
        for user in conversation.listed.iter().filter(|user| **user != by) {
            match copies.remove(&(*user, row.seq)) {
                Some(1) => {}
                None => broken!(
                    "user {} has no notice of number {} of {id}, {}",
                    history.user(*user),
                    row.seq,
                    history.describe(row.content)
                ),
                Some(copies) => broken!(
                    "user {} has {copies} notices of number {} of {id}",
                    history.user(*user),
                    row.seq
                ),
            }
        }
    }
    if let Some((user, seq)) = copies.keys().next() {
        broken!(
            "user {} has a notice of number {seq} of {id}, which is no message of another member",
            history.user(*user)
        );
    }
    Ok(conversation.notices.len() as u64)
}
