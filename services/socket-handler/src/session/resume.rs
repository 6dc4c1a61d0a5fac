//! The answer to a resume: one page of the log.

use chat_events::{Code, ConversationId, LogEvent, ServerFrame, limits};
use chat_kit::planted::{self, Bug};

use crate::frame::later;
use crate::messages::{AskError, Events};

pub fn resumed(
    conversation_id: ConversationId,
    after: i64,
    events: Result<Events, AskError>,
) -> ServerFrame {
    match events {
        // The client knows more than there is: what it knows is void.
        Ok(events) if events.seq < after => ServerFrame::Resync { conversation_id },
        Ok(mut events) => {
            let count = fitting(&events.events);
            let complete = events.complete && count == events.events.len();
            let half = planted::bug(Bug::ResumeHalf);
            events.events.truncate(if half { count / 2 } else { count });
            ServerFrame::Resumed {
                conversation_id,
                events: events.events,
                complete,
            }
        }
        // All or nothing; over HTTP the client learns what there is.
        Err(AskError::NotFound) => ServerFrame::Resync { conversation_id },
        Err(AskError::Unauthenticated) => later(Code::Unauthenticated, None),
        Err(AskError::Unavailable(error)) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "cannot ask messages for events"
            );
            later(Code::Unavailable, None)
        }
    }
}

/// How many events make a page; at least one, so that there is progress.
fn fitting(events: &[LogEvent]) -> usize {
    let mut bytes = 0;
    let more = events.iter().skip(1).take_while(|event| {
        bytes += size(event);
        bytes <= limits::RESUME
    });
    events.len().min(1 + more.count())
}

fn size(event: &LogEvent) -> usize {
    limits::AROUND_TEXT
        + match event {
            LogEvent::Message { message, .. } => message.content.len(),
            LogEvent::Read { .. } => 0,
        }
}

#[cfg(test)]
mod tests {
    use chat_events::{
        ClientId, ConversationId, LogEvent, MessageId, MessageView, ServerFrame, UserId, limits,
    };
    use jiff::Timestamp;

    use super::{Events, resumed};
    use crate::frame;

    fn log(conversation_id: ConversationId, count: i64, content: &str) -> Vec<LogEvent> {
        let message = |seq| LogEvent::Message {
            conversation_id,
            seq,
            message: MessageView {
                id: MessageId::generate(),
                conversation_id,
                seq,
                sender_id: UserId::generate(),
                client_id: ClientId::generate(),
                content: content.to_owned(),
                created_at: Timestamp::now(),
            },
        };
        (1..=count).map(message).collect()
    }

    /// How many events come, and whether they are all.
    fn page(events: &[LogEvent], complete: bool) -> (usize, bool) {
        let events = Events {
            events: events.to_vec(),
            complete,
            seq: 1_000,
        };
        match resumed(ConversationId::generate(), 0, Ok(events)) {
            ServerFrame::Resumed {
                events, complete, ..
            } => (events.len(), complete),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_page_of_large_messages_is_cut_and_the_rest_follows() {
        let conversation = ConversationId::generate();
        let longest = "\u{1F642}".repeat(limits::CONTENT_CHARS);
        let mut rest = log(conversation, 40, &longest);
        let mut pages = Vec::new();
        while !rest.is_empty() {
            let (count, complete) = page(&rest, true);
            pages.push(count);
            rest.drain(..count);
            assert_eq!(complete, rest.is_empty());
        }
        assert!(pages.len() > 1, "{pages:?}");
        assert!(pages.iter().all(|count| *count > 0), "{pages:?}");
    }

    #[test]
    fn a_page_of_small_messages_is_left_whole() {
        let count = i64::from(limits::RESUME_PAGE);
        let events = log(ConversationId::generate(), count, "hi");
        assert_eq!(page(&events, false), (events.len(), false));
        assert_eq!(page(&events, true), (events.len(), true));
        assert_eq!(page(&[], true), (0, true));
    }

    #[test]
    fn a_page_is_no_larger_than_it_was_counted() {
        let events = log(ConversationId::generate(), 1, "x");
        let one = serde_json::to_string(&events[0]).expect("JSON").len();
        assert!(one <= limits::AROUND_TEXT + 1, "{one}");
        let many = log(ConversationId::generate(), 500, &"x".repeat(4_000));
        let (count, _) = page(&many, true);
        let frame = ServerFrame::Resumed {
            conversation_id: ConversationId::generate(),
            events: many[..count].to_vec(),
            complete: false,
        };
        let chat_kit::socket::Item::Frame(_, text) = frame::item(&frame) else {
            panic!("not a frame");
        };
        assert!(
            text.as_str().len() <= limits::RESUME + 5_000,
            "{}",
            text.as_str().len()
        );
    }
}
