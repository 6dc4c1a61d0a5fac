//! One line of a history.

use std::fmt;

use chat_events::{ClientId, Code, ConversationId, LogEvent, MessageId, UserId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Flat, and most fields are absent from most lines: a history is read by people
/// and by `grep` as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Microseconds since the recorder started, by a clock that never jumps.
    pub t_mono: u64,
    /// Microseconds since 1970, for comparing with logs; nothing is judged by it.
    #[serde(default)]
    pub t_wall: u64,
    /// One life of one client: its view starts empty, and grows at its end only.
    pub process: u32,
    /// Who the client is; nobody for the harness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The connections of a process are numbered from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conn: Option<u32>,
    #[serde(rename = "type")]
    pub kind: Kind,
    pub f: Function,
    /// What a `recv`, `view` or `final` tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
    /// Where a `final` was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv: Option<ConversationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    /// Whom the line is about, if that is not `user`: the sender, the reader, the
    /// one who types, joins or is online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserId>,
    /// A read mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<i64>,
    /// Typing or not, online or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// A service or a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

impl Record {
    pub const fn new(t_mono: u64, process: u32, kind: Kind, f: Function) -> Self {
        Self {
            t_mono,
            t_wall: 0,
            process,
            user: None,
            conn: None,
            kind,
            f,
            entry: None,
            via: None,
            conv: None,
            client_id: None,
            message_id: None,
            seq: None,
            hash: None,
            by: None,
            up_to: None,
            active: None,
            count: None,
            code: None,
            of: None,
        }
    }

    /// The line, about an entry of a log.
    pub fn of_log(self, event: &LogEvent) -> Self {
        match event {
            LogEvent::Message {
                conversation_id,
                seq,
                message,
            } => Self {
                entry: Some(Entry::Message),
                conv: Some(*conversation_id),
                seq: Some(*seq),
                by: Some(message.sender_id),
                client_id: Some(message.client_id),
                message_id: Some(message.id),
                hash: Some(Hash::of(&message.content)),
                ..self
            },
            LogEvent::Read {
                conversation_id,
                seq,
                user_id,
                up_to,
                ..
            } => Self {
                entry: Some(Entry::Read),
                conv: Some(*conversation_id),
                seq: Some(*seq),
                by: Some(*user_id),
                up_to: Some(*up_to),
                ..self
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Noted before anything leaves.
    Invoke,
    /// It happened. Of a send: `accepted` or stored, whichever was heard first.
    Ok,
    /// It did not happen, and never will.
    Fail,
    /// No answer: it may have happened, once. An `ok` or `fail` may still follow.
    /// Also what was only looked at: `recv`, `view`, `final`.
    Info,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// The socket. `info` is its end.
    Connect,
    Send,
    Read,
    Typing,
    Join,
    Leave,
    Resume,
    /// The end of the session of `process`.
    Revoke,
    /// A frame on the wire.
    Recv,
    /// The state after the reducer.
    View,
    /// `invoke`: something in `of` is broken on purpose; `ok`: it is healed.
    Fault,
    /// A body that nobody can handle was put into the queue `of`.
    Poison,
    /// After everything was healed and had time to settle.
    Final,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Of the log.
    Message,
    /// Of the log.
    Read,
    /// How far the log goes: `hello` of the connection.
    Hello,
    /// How far the log goes: heartbeats, and final reads.
    Position,
    Typing,
    Presence,
    Member,
    /// A read mark beside the log.
    Mark,
    /// Without a `conv`: of all conversations, as a client shows it.
    Unread,
    /// Rows older than ten seconds.
    Outbox,
    /// Without a `user`: how many there are.
    Notice,
    Account,
    DeadLetter,
    /// In Redis: a page of up to `count` messages that end at `seq`, or else a user
    /// on a page of the directory.
    Cached,
    /// A user as the directory has it.
    Profile,
    /// Refresh tokens of a session that are good.
    Leaf,
    /// How much there is of something that must be given back.
    Resource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    Database,
    Rest,
    /// What the client shows.
    View,
}

/// Of a message's text, so that a history holds no texts: FNV-1a, which any
/// client computes in three lines.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash(pub u64);

impl Hash {
    pub fn of(text: &str) -> Self {
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(text.bytes().fold(0xcbf2_9ce4_8422_2325, fold))
    }

    /// Of a page of messages: numbers, ids and texts.
    pub fn of_page(
        messages: impl Iterator<Item = (i64, MessageId, Self)>,
        has_before: bool,
    ) -> Self {
        let lines = messages.map(|(seq, id, hash)| format!("{seq} {id} {hash}\n"));
        Self::of(&format!("{has_before}\n{}", lines.collect::<String>()))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}
