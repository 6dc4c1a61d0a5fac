//! I13: typing is told only of somebody who types (within 30 s while something is
//! broken: a frozen pod says later what it had heard), is shown for 6 s at most after it
//! was told, and is stored nowhere.

use std::collections::HashMap;

use super::{Verdict, broken};
use crate::history::{At, ClientIx, Conversation, History, Level, UserIx};

const BOUND: u64 = 6_000_000;
/// A client that wants to look every second gets to it a little later.
const SLACK: u64 = 1_000_000;
const BROKEN: u64 = 30_000_000;

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
    for conversation in &history.conversations {
        facts += typing(history, conversation)?;
    }
    Ok(facts)
}

fn typing(history: &History, conversation: &Conversation) -> Verdict {
    let id = conversation.id;
    let mut said: HashMap<UserIx, u64> = HashMap::new();
    let mut shown: HashMap<(ClientIx, UserIx), u64> = HashMap::new();
    for frame in &conversation.typing {
        let user = history.user(frame.by);
        match frame.level {
            Level::Said => {
                if frame.active {
                    said.insert(frame.by, frame.t);
                }
            }
            Level::Heard if frame.active => {
                let last = said.get(&frame.by);
                let late = |last: &u64| {
                    let broken = history.faulty(*last, frame.t);
                    last + (if broken { BROKEN } else { BOUND + SLACK }) < frame.t
                };
                if last.is_none_or(late) {
                    broken!(
                        "{} heard at {} that user {user} types in {id}; the last time the user said so was {}",
                        history.name(frame.client),
                        At(frame.t),
                        last.map_or_else(|| "never".to_owned(), |last| At(*last).to_string())
                    );
                }
                // Whoever goes on typing is shown for longer.
                if let Some(since) = shown.get_mut(&(frame.client, frame.by)) {
                    *since = frame.t;
                }
            }
            Level::Heard => {}
            Level::Shown => {
                let key = (frame.client, frame.by);
                let before = if frame.active {
                    shown.insert(key, frame.t)
                } else {
                    shown.remove(&key)
                };
                if let Some(since) = before.filter(|since| since + BOUND + SLACK < frame.t) {
                    broken!(
                        "{} showed user {user} as typing in {id} from {} to {}",
                        history.name(frame.client),
                        At(since),
                        At(frame.t)
                    );
                }
            }
            Level::Stored => broken!("the typing of user {user} in {id} is stored"),
        }
    }
    for ((client, user), since) in &shown {
        let end = history.client(*client).last;
        if since + BOUND + SLACK < end {
            broken!(
                "{} shows user {} as typing in {id} from {} to its end at {}",
                history.name(*client),
                history.user(*user),
                At(*since),
                At(end)
            );
        }
    }
    Ok(conversation.typing.len() as u64)
}
