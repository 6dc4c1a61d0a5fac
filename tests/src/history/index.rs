//! A history in the order in which it is judged: conversation by conversation,
//! with small numbers in place of ids. A million operations take some hundred
//! megabytes.

mod build;

use std::collections::{HashMap, HashSet};
use std::fmt;

use chat_events::{ClientId, ConversationId, MessageId, UserId};

use super::names::{ClientIx, ContentIx, SendIx, UserIx};
use super::record::{Hash, Via};

/// Whoever waits for the broker or a database tries again every 3 s; then it does what
/// has waited. Microseconds.
pub const RECOVERY: u64 = 5_000_000;

#[derive(Debug, Default)]
pub struct History {
    pub records: u64,
    /// Lines of the kind `invoke`.
    pub operations: u64,
    /// When the last line was written. All times are microseconds.
    pub end: u64,
    pub users: Vec<UserId>,
    pub clients: Vec<Client>,
    pub sends: Vec<Send>,
    pub contents: Vec<Content>,
    pub conversations: Vec<Conversation>,
    /// What sockets told of who comes and goes.
    pub presence: Vec<Presence>,
    /// From when to when something was broken on purpose.
    pub faults: Vec<(u64, u64)>,
    /// Bodies that nobody can handle, by queue.
    pub poison: HashMap<(String, Hash), i64>,
    pub finals: Finals,
}

/// What was found in the end, beside the logs.
#[derive(Debug, Default)]
pub struct Finals {
    pub presence: Vec<Presence>,
    /// Unread messages of all conversations of a user, as somebody said.
    pub unread: Vec<(UserIx, i64)>,
    /// Rows older than ten seconds, by service.
    pub outboxes: Vec<(String, i64)>,
    /// Who has an account, by service.
    pub accounts: HashMap<String, HashSet<UserIx>>,
    pub dead_letters: HashMap<(String, Hash), i64>,
    pub dead_letter_count: Option<i64>,
    /// How many notices there are.
    pub notice_count: Option<i64>,
    /// Of each live session: whose it is, and how many refresh tokens are good.
    pub leaves: Vec<(UserIx, i64)>,
    /// Each user as the directory has it.
    pub profiles: HashMap<UserIx, Hash>,
    /// Users on pages of the directory in the cache, with the key of the page.
    pub listed: Vec<(UserIx, Hash, String)>,
    /// In the order of time.
    pub resources: Vec<Resource>,
}

/// One life of one client.
#[derive(Debug)]
pub struct Client {
    pub process: u32,
    /// Nobody for the harness.
    pub user: Option<UserIx>,
    pub connections: Vec<Connection>,
    /// When the end of its session was answered.
    pub revoked: Option<u64>,
    /// Its last line.
    pub last: u64,
}

#[derive(Debug)]
pub struct Connection {
    pub number: u32,
    /// When the client began to ask for it.
    pub asked: u64,
    pub opened: Option<u64>,
    pub closed: Option<u64>,
}

#[derive(Debug)]
pub struct Send {
    pub client_id: ClientId,
    pub conversation: usize,
    pub by: UserIx,
    pub hash: Hash,
    pub client: ClientIx,
    /// Nothing if it was seen and never sent.
    pub invoked: Option<u64>,
    pub outcome: Outcome,
    /// The first answer.
    pub answered: Option<u64>,
    /// As the answer said it.
    pub answered_seq: Option<i64>,
    /// As the database says it, or else whoever saw it first.
    pub seq: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Never answered: it may be stored, once.
    Open,
    Ok,
    /// Refused for ever.
    Refused,
}

/// What stands at one place of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    Message {
        by: UserIx,
        send: SendIx,
        message_id: MessageId,
        hash: Hash,
    },
    Read {
        by: UserIx,
        up_to: i64,
    },
}

/// Everything of one conversation, each list in the order of time.
#[derive(Debug)]
pub struct Conversation {
    pub id: ConversationId,
    /// By the time of their first attempt; not those that were never sent.
    pub sends: Vec<SendIx>,
    pub sightings: Vec<Sighting>,
    pub standings: Vec<Standing>,
    pub memberships: Vec<Membership>,
    /// Answers to clients that marked something as read.
    pub reads: Vec<ReadMark>,
    pub typing: Vec<TypingFrame>,
    /// As the database has it, by number.
    pub log: Vec<Entered>,
    /// Members as the database has them.
    pub listed: Vec<UserIx>,
    /// Marks beside the log, in the end.
    pub marks: Vec<ReadMark>,
    /// In the end, as each reader was told.
    pub unread: Vec<(UserIx, i64)>,
    /// In the end: to whom, of which entry.
    pub notices: Vec<(UserIx, i64)>,
    /// Pages in the cache, in the end.
    pub cached: Vec<Cached>,
}

/// Newest messages up to a place in the log, as the cache has them.
#[derive(Debug)]
pub struct Cached {
    pub key: String,
    pub seq: i64,
    pub limit: usize,
    pub hash: Hash,
}

/// How much there was of something at that time.
#[derive(Debug)]
pub struct Resource {
    pub t: u64,
    pub of: String,
    pub count: i64,
}

/// Somebody saw an entry of the log somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    pub t: u64,
    pub seq: i64,
    pub client: ClientIx,
    pub content: ContentIx,
    pub place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A frame; repeats are a cost, not a fault.
    Wire,
    /// What a client shows.
    View,
    /// Read over HTTP in the end.
    Rest,
    /// Read from the table in the end.
    Database,
}

/// How far the log goes, as somebody said.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub t: u64,
    pub client: ClientIx,
    pub seq: i64,
    pub source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The greeting of this connection of the client.
    Hello(u32),
    Final(Via),
}

#[derive(Clone, Copy, Debug)]
pub struct Membership {
    pub t: u64,
    pub user: UserIx,
    pub joined: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct ReadMark {
    pub t: u64,
    pub user: UserIx,
    pub up_to: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct TypingFrame {
    pub t: u64,
    pub client: ClientIx,
    /// Who types.
    pub by: UserIx,
    pub active: bool,
    pub level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Said,
    Heard,
    Shown,
    /// Found in a store: it must not be there.
    Stored,
}

/// Somebody is said to be online, or not.
#[derive(Clone, Copy, Debug)]
pub struct Presence {
    pub t: u64,
    pub client: ClientIx,
    pub conn: u32,
    pub user: UserIx,
    pub online: bool,
}

/// One row of a log.
#[derive(Clone, Copy, Debug)]
pub struct Entered {
    pub seq: i64,
    pub content: ContentIx,
}

impl History {
    pub fn user(&self, user: UserIx) -> UserId {
        self.users[user.index()]
    }

    pub fn client(&self, client: ClientIx) -> &Client {
        &self.clients[client.index()]
    }

    pub fn send(&self, send: SendIx) -> &Send {
        &self.sends[send.index()]
    }

    pub fn content(&self, content: ContentIx) -> Content {
        self.contents[content.index()]
    }

    /// The send that a content came from, if it is a message.
    pub fn sent(&self, content: ContentIx) -> Option<SendIx> {
        match self.content(content) {
            Content::Message { send, .. } => Some(send),
            Content::Read { .. } => None,
        }
    }

    /// For a counter-example.
    pub fn name(&self, client: ClientIx) -> String {
        let client = self.client(client);
        match client.user {
            Some(user) => format!("client {} of user {}", client.process, self.user(user)),
            None => "the harness".to_owned(),
        }
    }

    /// For a counter-example.
    pub fn describe(&self, content: ContentIx) -> String {
        match self.content(content) {
            Content::Message {
                by,
                send,
                message_id,
                hash,
            } => format!(
                "message {message_id} (client_id {}, sender {}, hash {hash})",
                self.send(send).client_id,
                self.user(by)
            ),
            Content::Read { by, up_to } => {
                format!("the read of user {} up to {up_to}", self.user(by))
            }
        }
    }

    /// Whether the logs were read from the database in the end. A conversation that was
    /// not among them is gone.
    pub fn is_closed(&self) -> bool {
        let mut conversations = self.conversations.iter();
        conversations.any(|conversation| conversation.last_seq().is_some())
    }

    /// Whether anything was broken on purpose between the two, or had not found its way
    /// back yet.
    pub fn faulty(&self, from: u64, to: u64) -> bool {
        self.faults
            .iter()
            .any(|(begun, healed)| *begun <= to && from <= *healed + RECOVERY)
    }
}

impl Conversation {
    fn new(id: ConversationId) -> Self {
        Self {
            id,
            sends: Vec::new(),
            sightings: Vec::new(),
            standings: Vec::new(),
            memberships: Vec::new(),
            reads: Vec::new(),
            typing: Vec::new(),
            log: Vec::new(),
            listed: Vec::new(),
            marks: Vec::new(),
            unread: Vec::new(),
            notices: Vec::new(),
            cached: Vec::new(),
        }
    }

    /// The last number, as the database has it. Nothing if nobody asked it.
    pub fn last_seq(&self) -> Option<i64> {
        self.standings
            .iter()
            .rfind(|standing| standing.source == Source::Final(Via::Database))
            .map(|standing| standing.seq)
    }
}

/// A time of the history, for people.
pub struct At(pub u64);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
