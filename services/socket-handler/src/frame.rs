//! Frames of the chat socket: what they are about, and how they go out.

use chat_events::{ClientFrame, ClientId, Code, ConversationId, LogEvent, ServerFrame};
use chat_kit::socket::Item;

/// Encoded once, for any number of sockets.
pub fn item(frame: &ServerFrame) -> Item {
    // Types of our own without maps always encode.
    let text = serde_json::to_string(frame).unwrap_or_default();
    Item::Frame(kind_out(frame), text.into())
}

/// The `type` of a frame.
const fn kind_out(frame: &ServerFrame) -> &'static str {
    match frame {
        ServerFrame::Hello { .. } => "hello",
        ServerFrame::Accepted { .. } => "accepted",
        ServerFrame::Refused { .. } => "refused",
        ServerFrame::Error { .. } => "error",
        ServerFrame::Typing { .. } => "typing",
        ServerFrame::ConversationCreated { .. } => "conversation.created",
        ServerFrame::Heartbeat { .. } => "heartbeat",
        ServerFrame::Resumed { .. } => "resumed",
        ServerFrame::Resync { .. } => "resync",
        ServerFrame::GoingAway { .. } => "going_away",
        ServerFrame::Log(LogEvent::Message { .. }) => "message.stored",
        ServerFrame::Log(LogEvent::Read { .. }) => "message.read",
    }
}

/// The `type` of a frame.
pub const fn kind_in(frame: &ClientFrame) -> &'static str {
    match frame {
        ClientFrame::MessageCreate { .. } => "message.create",
        ClientFrame::MessageRead { .. } => "message.read",
        ClientFrame::Typing { .. } => "typing",
        ClientFrame::Resume { .. } => "resume",
    }
}

pub const fn conversation(frame: &ClientFrame) -> ConversationId {
    match frame {
        ClientFrame::MessageCreate {
            conversation_id, ..
        }
        | ClientFrame::MessageRead {
            conversation_id, ..
        }
        | ClientFrame::Typing {
            conversation_id, ..
        }
        | ClientFrame::Resume {
            conversation_id, ..
        } => *conversation_id,
    }
}

pub const fn client_id(frame: &ClientFrame) -> Option<ClientId> {
    match frame {
        ClientFrame::MessageCreate { client_id, .. } => Some(*client_id),
        _ => None,
    }
}

/// Strangers learn nothing, not even that the conversation exists.
pub fn not_found(frame: &ClientFrame) -> ServerFrame {
    match frame {
        ClientFrame::MessageCreate {
            client_id,
            conversation_id,
            ..
        } => ServerFrame::Refused {
            client_id: *client_id,
            conversation_id: *conversation_id,
            code: Code::NotFound,
            detail: Code::NotFound.title().to_owned(),
        },
        _ => later(Code::NotFound, None),
    }
}

pub fn invalid(detail: String) -> ServerFrame {
    ServerFrame::Error {
        code: Code::InvalidFrame,
        detail,
        client_id: None,
    }
}

/// Not final: the same frame may work later.
pub fn later(code: Code, client_id: Option<ClientId>) -> ServerFrame {
    ServerFrame::Error {
        code,
        detail: code.title().to_owned(),
        client_id,
    }
}
