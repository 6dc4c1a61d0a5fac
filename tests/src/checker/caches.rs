//! I14: a page of messages in the cache is the one that the log gives for the place
//! that its key names. Messages do not change, so this holds for old keys as well.
//! A page of the directory has its users as they are, as long as it would be given
//! out.

use super::{Verdict, broken};
use crate::history::{Cached, Content, Conversation, Hash, History};

pub fn check(history: &History) -> Verdict {
    let mut facts = directory(history)?;
    for conversation in &history.conversations {
        for page in &conversation.cached {
            let expected = derived(history, conversation, page);
            if page.hash != expected {
                broken!(
                    "{} is not the {} messages of {} up to number {} (hash {}, and {expected} was expected)",
                    page.key,
                    page.limit,
                    conversation.id,
                    page.seq,
                    page.hash
                );
            }
            facts += 1;
        }
    }
    Ok(facts)
}

fn directory(history: &History) -> Verdict {
    let finals = &history.finals;
    for (user, shown, key) in &finals.listed {
        if finals.profiles.get(user) != Some(shown) {
            broken!(
                "{key} does not show user {} as the directory has it",
                history.user(*user)
            );
        }
    }
    Ok(finals.listed.len() as u64)
}

fn derived(history: &History, conversation: &Conversation, page: &Cached) -> Hash {
    let rows = conversation.log.iter().filter(|row| row.seq <= page.seq);
    let messages: Vec<_> = rows
        .filter_map(|row| match history.content(row.content) {
            Content::Message {
                message_id, hash, ..
            } => Some((row.seq, message_id, hash)),
            Content::Read { .. } => None,
        })
        .collect();
    let first = messages.len().saturating_sub(page.limit);
    Hash::of_page(messages[first..].iter().copied(), first > 0)
}
