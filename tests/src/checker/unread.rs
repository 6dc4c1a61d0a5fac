//! I11: what a reader is told to be unread, of one conversation or of all, is what a
//! recount of the log gives.

use std::collections::HashMap;

use super::{Verdict, broken, receipts};
use crate::history::{Content, Conversation, History, UserIx};

pub fn check(history: &History) -> Verdict {
    let mut totals: HashMap<UserIx, i64> = HashMap::new();
    let mut facts = 0;
    for conversation in &history.conversations {
        if conversation.unread.is_empty() && history.finals.unread.is_empty() {
            continue;
        }
        let marks = receipts::marks(history, conversation);
        let recount = |user: UserIx| {
            let mark = marks.get(&user).copied().unwrap_or_default();
            (unread(history, conversation, user, mark), mark)
        };
        for (user, told) in &conversation.unread {
            let (count, mark) = recount(*user);
            if *told != count {
                broken!(
                    "user {} is told that {told} messages of {} are unread; {count} of others come after the mark {mark}",
                    history.user(*user),
                    conversation.id
                );
            }
            facts += 1;
        }
        for user in &conversation.listed {
            *totals.entry(*user).or_default() += recount(*user).0;
        }
    }
    for (user, told) in &history.finals.unread {
        let count = totals.get(user).copied().unwrap_or_default();
        if *told != count {
            broken!(
                "user {} is told that {told} messages are unread in all; {count} are",
                history.user(*user)
            );
        }
        facts += 1;
    }
    Ok(facts)
}

fn unread(history: &History, conversation: &Conversation, user: UserIx, mark: i64) -> i64 {
    let after = conversation.log.iter().filter(|row| row.seq > mark);
    let by_others = after.filter(
        |row| matches!(history.content(row.content), Content::Message { by, .. } if by != user),
    );
    by_others.count() as i64
}
