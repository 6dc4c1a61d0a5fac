//! What waits for one socket: bounded in number and in bytes. Everybody may
//! post; only the session takes.

use std::mem;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use chat_events::{ServerFrame, SessionId, UserId, close, limits};
use chat_kit::identity::Authenticated;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::sync::Notify;
use uuid::Uuid;

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed, or its connection broke.
    Gone,
    /// The peer does not answer pings.
    Silent,
    /// The peer broke the rules of WebSocket, so with that code.
    Protocol(u16),
    TooBig,
    TooManyFrames,
    Stopping,
    Expired,
    Revoked,
    SlowReader,
    /// What was told to the client no longer holds.
    FanOutLost,
}

impl End {
    /// The close code, if the peer is there to hear it.
    pub const fn code(self) -> Option<u16> {
        match self {
            Self::Gone | Self::Silent => None,
            Self::Protocol(code) => Some(code),
            Self::TooBig => Some(close::TOO_BIG),
            Self::TooManyFrames => Some(close::POLICY),
            Self::Stopping => Some(close::GOING_AWAY),
            Self::Expired => Some(close::EXPIRED),
            Self::Revoked => Some(close::REVOKED),
            Self::SlowReader => Some(close::SLOW_READER),
            Self::FanOutLost => Some(close::FAN_OUT_LOST),
        }
    }

    /// For people, and for the metrics of those without a code.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Protocol(_) => "protocol error",
            Self::TooBig => "frame too big",
            Self::TooManyFrames => "too many frames",
            Self::Stopping => "server stopping",
            Self::Expired => "token expired",
            Self::Revoked => "session ended",
            Self::SlowReader => "slow reader",
            Self::FanOutLost => "events lost",
        }
    }
}

/// One thing for the socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An encoded frame, shared among sockets.
    Frame(&'static str, Utf8Bytes),
    /// Time for a heartbeat.
    Beat,
}

impl Item {
    pub fn frame(frame: &ServerFrame) -> Self {
        // Types of our own without maps always encode.
        let text = serde_json::to_string(frame).unwrap_or_default();
        Self::Frame(kind(frame), text.into())
    }

    fn size(&self) -> usize {
        match self {
            Self::Frame(_, text) => text.as_str().len(),
            Self::Beat => 0,
        }
    }
}

/// The `type` of a frame.
const fn kind(frame: &ServerFrame) -> &'static str {
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
        ServerFrame::Log(chat_events::LogEvent::Message { .. }) => "message.stored",
        ServerFrame::Log(chat_events::LogEvent::Read { .. }) => "message.read",
    }
}

pub struct Mailbox {
    pub connection: Uuid,
    pub user: UserId,
    pub session: SessionId,
    pub address: IpAddr,
    pub expires_at: Timestamp,
    pub token: SecretString,
    waiting: Mutex<Waiting>,
    /// There is something to take.
    posted: Notify,
    /// The end has come; wakes even a session that waits for a slow peer.
    ended: Notify,
    heard: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    items: Vec<Item>,
    bytes: usize,
    end: Option<End>,
}

impl Mailbox {
    pub fn new(caller: &Authenticated, address: IpAddr) -> Self {
        Self {
            connection: Uuid::now_v7(),
            user: caller.user_id(),
            session: caller.session_id(),
            address,
            expires_at: caller.expires_at(),
            token: caller.token().clone(),
            waiting: Mutex::default(),
            posted: Notify::new(),
            ended: Notify::new(),
            heard: AtomicBool::new(true),
        }
    }

    #[cfg(test)]
    pub fn of(user: UserId) -> Self {
        Self {
            connection: Uuid::now_v7(),
            user,
            session: SessionId::generate(),
            address: IpAddr::from([192, 0, 2, 1]),
            expires_at: Timestamp::now() + limits::ACCESS_TOKEN,
            token: "token".into(),
            waiting: Mutex::default(),
            posted: Notify::new(),
            ended: Notify::new(),
            heard: AtomicBool::new(true),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to what waits, or ends the session when its peer reads too slowly.
    pub fn post(&self, item: Item) {
        let mut waiting = self.waiting();
        if waiting.end.is_some() {
            return;
        }
        let bytes = waiting.bytes + item.size();
        if waiting.items.len() >= limits::OUT_QUEUE_EVENTS || bytes > limits::OUT_QUEUE {
            *waiting = Waiting {
                end: Some(End::SlowReader),
                ..Waiting::default()
            };
            self.ended.notify_one();
            return;
        }
        waiting.bytes = bytes;
        waiting.items.push(item);
        self.posted.notify_one();
    }

    /// Ends the session; the first reason stays.
    pub fn end(&self, end: End) {
        let mut waiting = self.waiting();
        if waiting.end.is_none() {
            waiting.end = Some(end);
            self.ended.notify_one();
        }
    }

    pub fn ending(&self) -> Option<End> {
        self.waiting().end
    }

    /// Takes everything that waits. `empty` is given in exchange for its memory.
    pub fn take(&self, empty: Vec<Item>) -> Vec<Item> {
        let mut waiting = self.waiting();
        waiting.bytes = 0;
        mem::replace(&mut waiting.items, empty)
    }

    pub async fn posted(&self) {
        self.posted.notified().await;
    }

    pub async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Notes that the peer said something.
    pub fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Whether the peer said something since the last call.
    pub fn was_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use chat_events::{UserId, limits};

    use super::{End, Item, Mailbox};

    #[test]
    fn two_hundred_and_fifty_six_events_may_wait_and_no_more() {
        let mailbox = Mailbox::of(UserId::generate());
        for _ in 0..limits::OUT_QUEUE_EVENTS {
            mailbox.post(Item::Beat);
        }
        assert_eq!(mailbox.ending(), None);
        mailbox.post(Item::Beat);
        assert_eq!(mailbox.ending(), Some(End::SlowReader));
        assert!(mailbox.take(Vec::new()).is_empty(), "the memory is free");
    }

    #[test]
    fn one_mebibyte_may_wait_and_no_more() {
        let mailbox = Mailbox::of(UserId::generate());
        let quarter = Item::Frame("error", "x".repeat(limits::OUT_QUEUE / 4).into());
        for _ in 0..4 {
            mailbox.post(quarter.clone());
        }
        assert_eq!(mailbox.ending(), None);
        mailbox.post(Item::Frame("error", "x".into()));
        assert_eq!(mailbox.ending(), Some(End::SlowReader));
    }

    #[test]
    fn what_was_taken_no_longer_counts() {
        let mailbox = Mailbox::of(UserId::generate());
        for _ in 0..3 {
            for _ in 0..limits::OUT_QUEUE_EVENTS {
                mailbox.post(Item::Beat);
            }
            assert_eq!(mailbox.take(Vec::new()).len(), limits::OUT_QUEUE_EVENTS);
        }
        assert_eq!(mailbox.ending(), None);
    }

    #[test]
    fn the_first_reason_to_end_stays() {
        let mailbox = Mailbox::of(UserId::generate());
        mailbox.end(End::Revoked);
        mailbox.end(End::Expired);
        mailbox.post(Item::Beat);
        assert_eq!(mailbox.ending(), Some(End::Revoked));
        assert!(mailbox.take(Vec::new()).is_empty());
    }
}
