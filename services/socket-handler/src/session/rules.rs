//! What a client may say: how often, and in which form. Pure.

#[cfg(test)]
mod fuzz;

use std::collections::HashMap;
use std::time::Duration;

use chat_events::{ClientFrame, ClientId, Code, ConversationId, ServerFrame, limits, text};
use tokio::time::Instant;

use crate::frame;

/// Frames over the limit that are answered with an error; the next one ends the session.
const TOLERATED: u32 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    Fine,
    TooFast,
    MuchTooFast,
}

/// Counts frames in windows that start with a frame.
pub struct FrameCount {
    since: Instant,
    count: u32,
}

impl FrameCount {
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
        }
    }

    pub fn one_more(&mut self, now: Instant) -> Pace {
        if now.duration_since(self.since) >= limits::FRAME_WINDOW {
            *self = Self::new(now);
        }
        self.count += 1;
        if self.count <= limits::FRAMES_PER_WINDOW {
            Pace::Fine
        } else if self.count <= limits::FRAMES_PER_WINDOW + TOLERATED {
            Pace::TooFast
        } else {
            Pace::MuchTooFast
        }
    }
}

/// In which conversations the user is typing, as far as others were told.
#[derive(Default)]
pub struct TypingState {
    told: HashMap<ConversationId, (Instant, bool)>,
}

impl TypingState {
    /// Whether others are to be told. "No longer" always is.
    pub fn passes(&mut self, conversation: ConversationId, active: bool, now: Instant) -> bool {
        let recent = |at: Instant| now.duration_since(at) < limits::TYPING_INTERVAL;
        if let Some((at, told)) = self.told.get_mut(&conversation) {
            if active && recent(*at) {
                return false;
            }
            if active {
                *at = now;
            }
            *told = active;
            return true;
        }
        self.told.retain(|_, (at, told)| *told || recent(*at));
        if active {
            self.told.insert(conversation, (now, true));
        }
        true
    }

    /// Where others still think that the user is typing.
    pub fn active(&self) -> impl Iterator<Item = ConversationId> + '_ {
        self.told
            .iter()
            .filter(|(_, (_, told))| *told)
            .map(|(id, _)| *id)
    }
}

/// Reads a text frame. What is wrong with it is for the client to know.
pub fn read(frame: &str) -> Result<ClientFrame, Box<ServerFrame>> {
    let frame: ClientFrame = serde_json::from_str(frame).map_err(|error| {
        Box::new(frame::invalid(format!(
            "not a frame of this protocol: {error}"
        )))
    })?;
    match &frame {
        ClientFrame::MessageCreate {
            client_id,
            conversation_id,
            content,
        } => {
            if let Some(detail) = fault(*client_id, content) {
                return Err(Box::new(ServerFrame::Refused {
                    client_id: *client_id,
                    conversation_id: *conversation_id,
                    code: Code::Invalid,
                    detail: detail.to_owned(),
                }));
            }
        }
        ClientFrame::MessageRead { up_to: seq, .. } if *seq < 1 => {
            return Err(Box::new(frame::invalid("up_to must be at least 1".into())));
        }
        ClientFrame::Resume { after: seq, .. } if *seq < 0 => {
            return Err(Box::new(frame::invalid(
                "after must not be negative".into(),
            )));
        }
        _ => {}
    }
    Ok(frame)
}

/// Why the message can never be stored.
fn fault(client_id: ClientId, content: &str) -> Option<&'static str> {
    let chars = content.chars().take(limits::CONTENT_CHARS + 1).count();
    if client_id.0.get_version_num() != 7 {
        Some("client_id must be a UUID of version 7")
    } else if text::is_blank(content) {
        Some("a message has at least one visible character")
    } else if chars > limits::CONTENT_CHARS {
        Some("a message has at most 4000 characters")
    } else if !text::is_message(content) {
        Some("a message holds no control characters but line feed and tab")
    } else {
        None
    }
}

/// Longest wait for the broker's confirm.
pub const CONFIRM: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chat_events::{ClientId, Code, ConversationId, ServerFrame, limits};
    use serde_json::json;
    use tokio::time::Instant;
    use uuid::Uuid;

    use super::{FrameCount, Pace, TOLERATED, TypingState, read};

    fn create(client_id: Uuid, content: &str) -> Result<(), Code> {
        let frame = json!({
            "type": "message.create",
            "client_id": client_id,
            "conversation_id": ConversationId::generate(),
            "content": content,
        });
        read(&frame.to_string())
            .map(|_| ())
            .map_err(|error| match *error {
                ServerFrame::Refused { code, .. } | ServerFrame::Error { code, .. } => code,
                other => panic!("{other:?}"),
            })
    }

    #[test]
    fn a_message_has_at_most_four_thousand_characters() {
        let id = Uuid::now_v7();
        assert_eq!(create(id, "é"), Ok(()));
        assert_eq!(create(id, &"é".repeat(4_000)), Ok(()));
        assert_eq!(create(id, &"é".repeat(4_001)), Err(Code::Invalid));
    }

    #[test]
    fn a_message_of_nothing_visible_is_invalid() {
        for blank in ["", " ", "\n\t\n", "\u{a0}\u{3000}", "\u{200b}\u{feff}"] {
            assert_eq!(
                create(Uuid::now_v7(), blank),
                Err(Code::Invalid),
                "{blank:?}"
            );
        }
        assert_eq!(create(Uuid::now_v7(), " \u{200b}.\n"), Ok(()));
    }

    #[test]
    fn a_message_holds_no_control_characters_but_line_feed_and_tab() {
        let id = Uuid::now_v7();
        assert_eq!(create(id, "one\n\ttwo"), Ok(()));
        for bad in ["\0", "a\u{1}b", "\r\n", "\u{7f}", "\u{1b}[31m"] {
            assert_eq!(create(id, bad), Err(Code::Invalid), "{bad:?}");
        }
    }

    #[test]
    fn a_client_id_is_a_uuid_of_version_seven() {
        assert_eq!(create(Uuid::new_v4(), "hi"), Err(Code::Invalid));
        assert_eq!(create(Uuid::nil(), "hi"), Err(Code::Invalid));
        assert_eq!(create(ClientId::generate().0, "hi"), Ok(()));
    }

    #[test]
    fn anything_but_a_frame_of_the_protocol_is_invalid() {
        let id = ConversationId::generate();
        for bad in [
            String::new(),
            "{".into(),
            "[]".into(),
            "null".into(),
            "\"message.create\"".into(),
            json!({"type": "message.delete", "conversation_id": id}).to_string(),
            json!({"type": "message.read", "conversation_id": id}).to_string(),
            json!({"type": "message.read", "conversation_id": id, "up_to": "1"}).to_string(),
            json!({"type": "message.read", "conversation_id": id, "up_to": 1.5}).to_string(),
            json!({"type": "message.read", "conversation_id": id, "up_to": 0}).to_string(),
            json!({"type": "message.read", "conversation_id": "1", "up_to": 1}).to_string(),
            json!({"type": "message.read", "conversation_id": id, "up_to": 1, "user_id": id})
                .to_string(),
            json!({"type": "typing", "conversation_id": id, "active": true, "x": 1}).to_string(),
            json!({"type": "resume", "conversation_id": id, "after": -1}).to_string(),
            json!({"type": "accepted", "client_id": id}).to_string(),
        ] {
            let error = read(&bad).map(|_| ()).expect_err(&bad);
            assert!(
                matches!(
                    *error,
                    ServerFrame::Error {
                        code: Code::InvalidFrame,
                        ..
                    }
                ),
                "{bad}: {error:?}"
            );
        }
    }

    #[test]
    fn one_hundred_and_twenty_frames_a_minute_are_fine() {
        let start = Instant::now();
        let mut count = FrameCount::new(start);
        for _ in 0..limits::FRAMES_PER_WINDOW {
            assert_eq!(count.one_more(start), Pace::Fine);
        }
        for _ in 0..TOLERATED {
            assert_eq!(count.one_more(start), Pace::TooFast);
        }
        assert_eq!(count.one_more(start), Pace::MuchTooFast);
        let later = start + limits::FRAME_WINDOW;
        assert_eq!(count.one_more(later), Pace::Fine);
    }

    #[test]
    fn typing_passes_once_in_three_seconds_and_its_end_always() {
        let (start, here) = (Instant::now(), ConversationId::generate());
        let at = |millis| start + Duration::from_millis(millis);
        let mut typing = TypingState::default();
        assert!(typing.passes(here, true, at(0)));
        assert!(!typing.passes(here, true, at(2_999)));
        assert!(typing.passes(ConversationId::generate(), true, at(2_999)));
        assert!(typing.passes(here, true, at(3_000)));
        assert!(typing.passes(here, false, at(3_001)));
        assert!(
            !typing.passes(here, true, at(3_002)),
            "stop and go is no way around"
        );
        assert!(typing.passes(here, false, at(3_003)));
        assert!(typing.passes(here, true, at(6_001)));
    }

    #[test]
    fn what_was_told_and_not_taken_back_is_still_active() {
        let (now, here, there) = (
            Instant::now(),
            ConversationId::generate(),
            ConversationId::generate(),
        );
        let mut typing = TypingState::default();
        typing.passes(here, true, now);
        typing.passes(there, true, now);
        typing.passes(here, false, now);
        assert_eq!(typing.active().collect::<Vec<_>>(), [there]);
    }
}
