//! The frames of the chat socket and of the notification socket.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ClientId, Code, ConversationId, LogEvent, Member, NoticeView, UserId};

/// What a client may say on `/ws/chat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum ClientFrame {
    #[serde(rename = "message.create")]
    MessageCreate {
        client_id: ClientId,
        conversation_id: ConversationId,
        content: String,
    },
    #[serde(rename = "message.read")]
    MessageRead {
        conversation_id: ConversationId,
        up_to: i64,
    },
    #[serde(rename = "typing")]
    Typing {
        conversation_id: ConversationId,
        active: bool,
    },
    /// Asks for everything after `after`; answered by `resumed` or `resync`.
    #[serde(rename = "resume")]
    Resume {
        conversation_id: ConversationId,
        after: i64,
    },
}

/// What the server says on `/ws/chat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum ServerFrame {
    /// Always the first frame.
    #[serde(rename = "hello")]
    Hello {
        connection_id: Uuid,
        user_id: UserId,
        /// The socket is closed with 4001 then.
        expires_at: Timestamp,
        heartbeat_seconds: u64,
        /// Changes when a database was restored: everything known is void.
        epoch: String,
        positions: Vec<Position>,
    },
    /// The broker has the message safely; `message.stored` follows.
    #[serde(rename = "accepted")]
    Accepted { client_id: ClientId },
    /// Final: the message will never be stored.
    #[serde(rename = "refused")]
    Refused {
        client_id: ClientId,
        conversation_id: ConversationId,
        code: Code,
        detail: String,
    },
    /// Not final: with a `client_id`, the send may be repeated later.
    #[serde(rename = "error")]
    Error {
        code: Code,
        detail: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_id: Option<ClientId>,
    },
    #[serde(rename = "typing")]
    Typing {
        conversation_id: ConversationId,
        user_id: UserId,
        active: bool,
    },
    #[serde(rename = "conversation.created")]
    ConversationCreated {
        conversation_id: ConversationId,
        members: Vec<Member>,
        created_at: Timestamp,
    },
    #[serde(rename = "heartbeat")]
    Heartbeat { positions: Vec<Position> },
    #[serde(rename = "resumed")]
    Resumed {
        conversation_id: ConversationId,
        events: Vec<LogEvent>,
        /// Otherwise ask again after the last one.
        complete: bool,
    },
    /// What is known of the conversation is void: fetch it again.
    #[serde(rename = "resync")]
    Resync { conversation_id: ConversationId },
    /// The server is about to stop; reconnect after the delay.
    #[serde(rename = "going_away")]
    GoingAway { delay_ms: u64 },
    /// `message.stored` and `message.read`.
    #[serde(untagged)]
    Log(LogEvent),
}

/// The newest entry of a conversation's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    pub conversation_id: ConversationId,
    pub seq: i64,
}

/// What the server says on `/ws/notifications/join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum NotificationFrame {
    /// Always the first frame. A guest has no `user_id`.
    #[serde(rename = "hello")]
    Hello {
        user_id: Option<UserId>,
        unread: i64,
        /// The users who are online, at most 1,000 of them.
        online: Vec<PublicUser>,
    },
    /// Who came online since the last frame of this kind, at most 1,000 of them.
    #[serde(rename = "user.online")]
    UserOnline { users: Vec<PublicUser> },
    #[serde(rename = "user.offline")]
    UserOffline { users: Vec<PublicUser> },
    /// Changed names; not for guests, who learn of nobody who is offline.
    #[serde(rename = "user.updated")]
    UserUpdated { users: Vec<PublicUser> },
    /// Only for its receiver.
    #[serde(rename = "notice")]
    Notice { notice: NoticeView, unread: i64 },
    /// Notices were read or deleted, here or on another device.
    #[serde(rename = "unread")]
    Unread { unread: i64 },
    #[serde(rename = "heartbeat")]
    Heartbeat {},
    #[serde(rename = "error")]
    Error { code: Code, detail: String },
    #[serde(rename = "going_away")]
    GoingAway { delay_ms: u64 },
}

/// What anybody may know of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicUser {
    pub id: UserId,
    pub username: String,
    pub display_name: String,
}

/// Close codes of both sockets.
pub mod close {
    /// The server stops; reconnect at once, to another pod.
    pub const GOING_AWAY: u16 = 1001;
    /// Too many frames.
    pub const POLICY: u16 = 1008;
    /// A frame over the limit.
    pub const TOO_BIG: u16 = 1009;
    /// The access token expired: refresh, then reconnect.
    pub const EXPIRED: u16 = 4001;
    /// The session was ended: sign in again.
    pub const REVOKED: u16 = 4003;
    /// The reader was too slow: reconnect and resume.
    pub const SLOW_READER: u16 = 4008;
    /// The pod lost its events: reconnect and resume.
    pub const FAN_OUT_LOST: u16 = 4009;
}
