//! I14: a page in the cache is the one that the log gives for the place that its
//! key names. Messages do not change, so this holds for old keys as well.

use super::{Verdict, broken};
use crate::history::{Cached, Content, Conversation, Hash, History};

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
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
