//! I2: each message that is seen anywhere was sent and not refused, by that sender,
//! into that conversation, with that text.

use super::{Verdict, broken};
use crate::history::{At, Content, History, Outcome};

pub fn check(history: &History) -> Verdict {
    for content in &history.contents {
        let Content::Message {
            by,
            send,
            message_id,
            hash,
        } = *content
        else {
            continue;
        };
        let send = history.send(send);
        let what = format_args!("message {message_id} with client_id {}", send.client_id);
        if send.invoked.is_none() {
            broken!("{what} was seen, and nobody sent it");
        }
        if send.outcome == Outcome::Refused {
            broken!("{what} was refused, and is seen");
        }
        if by != send.by {
            broken!(
                "{what} was sent by {}, and is shown as sent by {}",
                history.user(send.by),
                history.user(by)
            );
        }
        if hash != send.hash {
            broken!(
                "{what} was sent with hash {}, and is seen with {hash}",
                send.hash
            );
        }
    }
    for (index, conversation) in history.conversations.iter().enumerate() {
        for sighting in &conversation.sightings {
            let Some(send) = history.sent(sighting.content) else {
                continue;
            };
            let sent_into = history.send(send).conversation;
            if sent_into != index {
                broken!(
                    "{} was sent into {}, and seen in {} by {} at {}",
                    history.describe(sighting.content),
                    history.conversations[sent_into].id,
                    conversation.id,
                    history.name(sighting.client),
                    At(sighting.t)
                );
            }
        }
    }
    Ok(history.contents.len() as u64)
}
