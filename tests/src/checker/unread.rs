//! I11: what a reader is told to be unread is what a recount of the log gives.

use super::{Verdict, broken, receipts};
use crate::history::{Content, History};

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
    for conversation in &history.conversations {
        if conversation.unread.is_empty() {
            continue;
        }
        let marks = receipts::marks(history, conversation);
        for (user, told) in &conversation.unread {
            let mark = marks.get(user).copied().unwrap_or_default();
            let after = conversation.log.iter().filter(|row| row.seq > mark);
            let by_others = after.filter(|row| {
                matches!(history.content(row.content), Content::Message { by, .. } if by != *user)
            });
            let count = by_others.count() as i64;
            if *told != count {
                broken!(
                    "user {} is told that {told} messages of {} are unread; {count} of others come after the mark {mark}",
                    history.user(*user),
                    conversation.id
                );
            }
            facts += 1;
        }
    }
    Ok(facts)
}
