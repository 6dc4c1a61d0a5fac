//! The events on the broker. An envelope is always a list, because one broker
//! message of 32 events costs a twentieth of 32 messages.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{ClientId, Code, ConversationId, MessageId, SessionId, UserId};

/// The body of every broker message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Envelope {
    /// Version of the envelope; a reader refuses one it does not know.
    pub v: u8,
    pub events: Vec<Recorded>,
}

impl Envelope {
    pub const VERSION: u8 = 1;

    pub fn new(events: Vec<Recorded>) -> Self {
        Self {
            v: Self::VERSION,
            events,
        }
    }
}

/// One event with what every consumer needs to handle it once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recorded {
    /// The same for every repeat of the event.
    pub id: Uuid,
    pub at: Timestamp,
    /// W3C `traceparent` of the request that caused the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    pub event: Event,
}

impl Recorded {
    /// A new event of now. `trace` is the current `traceparent`, if there is one.
    pub fn new(event: Event, trace: Option<String>) -> Self {
        Self {
            id: Uuid::now_v7(),
            at: Timestamp::now(),
            trace,
            event,
        }
    }
}

/// Everything that services tell each other. The tag is the routing key
/// (without the partition).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum Event {
    #[serde(rename = "user.registered")]
    UserRegistered(UserRef),
    #[serde(rename = "user.updated")]
    UserUpdated(UserRef),
    #[serde(rename = "user.deleted")]
    UserDeleted { user_id: UserId },
    #[serde(rename = "user.logged.in")]
    UserLoggedIn {
        user_id: UserId,
        session_id: SessionId,
    },
    #[serde(rename = "user.signed.out")]
    UserSignedOut {
        user_id: UserId,
        session_id: SessionId,
    },
    #[serde(rename = "session.revoked")]
    SessionRevoked(SessionRevoked),
    /// The user's first socket opened.
    #[serde(rename = "user.online")]
    UserOnline(UserSeen),
    /// The user's last socket closed.
    #[serde(rename = "user.offline")]
    UserOffline(UserSeen),
    /// A pod saw a user's first or last local socket; users decides what it means.
    #[serde(rename = "presence.hint")]
    PresenceHint { user_id: UserId },

    #[serde(rename = "message.sent")]
    MessageSent(MessageSent),
    #[serde(rename = "message.read")]
    MessageRead(ReadRequested),
    /// A committed entry of a conversation's log.
    #[serde(rename = "message.stored")]
    MessageStored {
        /// Everybody who may see the entry.
        members: Vec<UserId>,
        entry: LogEvent,
    },
    #[serde(rename = "message.refused")]
    MessageRefused(SendRefused),
    #[serde(rename = "conversation.created")]
    ConversationCreated(ConversationCreated),
    #[serde(rename = "typing")]
    Typing(Typing),
    /// A user's notices were read or deleted.
    #[serde(rename = "notice")]
    Notice(NoticeCreated),
    /// Stored notices for the open sockets of their receivers.
    #[serde(rename = "noticed")]
    Noticed(Noticed),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserRef {
    pub user_id: UserId,
    pub username: String,
    pub display_name: String,
    /// Rises with every change of the profile, so that an older event never wins.
    pub version: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserSeen {
    pub user_id: UserId,
    pub username: String,
    pub display_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionRevoked {
    pub user_id: UserId,
    pub session_id: SessionId,
    /// Access tokens of the session are refused until then; later they are expired.
    pub until: Timestamp,
}

/// A message on its way to the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageSent {
    pub conversation_id: ConversationId,
    pub sender_id: UserId,
    pub client_id: ClientId,
    pub content: String,
}

/// A reader saw everything up to `up_to`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadRequested {
    pub conversation_id: ConversationId,
    pub user_id: UserId,
    pub up_to: i64,
}

/// The final answer to a send that could not be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SendRefused {
    pub conversation_id: ConversationId,
    pub sender_id: UserId,
    pub client_id: ClientId,
    pub code: Code,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConversationCreated {
    pub conversation_id: ConversationId,
    pub members: Vec<Member>,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Member {
    pub user_id: UserId,
    pub username: String,
    pub display_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Typing {
    pub conversation_id: ConversationId,
    pub user_id: UserId,
    pub active: bool,
}

/// One entry of a conversation's log: what others see, in the one order that
/// everybody sees. `seq` has no gaps. The same bytes are a socket frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(tag = "type")]
pub enum LogEvent {
    #[serde(rename = "message.stored")]
    Message {
        conversation_id: ConversationId,
        seq: i64,
        message: MessageView,
    },
    #[serde(rename = "message.read")]
    Read {
        conversation_id: ConversationId,
        seq: i64,
        user_id: UserId,
        up_to: i64,
        #[schema(value_type = String, format = DateTime)]
        at: Timestamp,
    },
}

impl LogEvent {
    pub const fn conversation_id(&self) -> ConversationId {
        match self {
            Self::Message {
                conversation_id, ..
            }
            | Self::Read {
                conversation_id, ..
            } => *conversation_id,
        }
    }

    pub const fn seq(&self) -> i64 {
        match self {
            Self::Message { seq, .. } | Self::Read { seq, .. } => *seq,
        }
    }
}

/// A message as members see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct MessageView {
    pub id: MessageId,
    pub conversation_id: ConversationId,
    pub seq: i64,
    pub sender_id: UserId,
    pub client_id: ClientId,
    pub content: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticeCreated {
    pub user_id: UserId,
    pub unread: i64,
    /// None; the release before this one told of a new notice so.
    pub notice: Option<NoticeView>,
}

/// What a batch of stored entries means for open sockets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Noticed {
    /// Messages and reads that were handled before. Whoever heard of fewer has missed some.
    pub after: i64,
    /// … and with these.
    pub up_to: i64,
    /// New ones, in the order in which they were stored.
    pub notices: Vec<NoticeFor>,
    /// Whose marks have moved, so that fewer notices may be unread.
    pub readers: Vec<UserId>,
}

/// A new notice, and those to whom it is unread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticeFor {
    pub receivers: Vec<UserId>,
    pub notice: NoticeView,
}

/// A stored notice as its receiver sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct NoticeView {
    pub id: Uuid,
    pub conversation_id: ConversationId,
    pub message_id: MessageId,
    pub seq: i64,
    pub sender_id: UserId,
    pub sender_username: String,
    /// The first 120 characters of the message.
    pub preview: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub read_at: Option<Timestamp>,
}
