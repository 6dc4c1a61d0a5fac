//! What waits for one socket: bounded in number and in bytes. Everybody may
//! post; only the session takes.

use std::mem;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use chat_events::{SessionId, UserId, close, limits};
use jiff::Timestamp;
use tokio::sync::Notify;

/// Beats without an answer to the ping after which a peer counts as gone.
const SILENT_BEATS: u32 = 3;

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed, or its connection broke.
    Gone,
    /// The peer does not answer pings.
    Silent,
    /// The peer broke the rules of WebSocket.
    Protocol,
    TooBig,
    TooManyFrames,
    Stopping,
    Expired,
    Revoked,
    SlowReader,
    FanOutLost,
}

impl End {
    /// The close code, if the peer is there to hear it.
    pub const fn code(self) -> Option<u16> {
        match self {
            Self::Gone | Self::Silent => None,
            Self::Protocol => Some(1002),
            Self::TooBig => Some(close::TOO_BIG),
            Self::TooManyFrames => Some(close::POLICY),
            Self::Stopping => Some(close::GOING_AWAY),
            Self::Expired => Some(close::EXPIRED),
            Self::Revoked => Some(close::REVOKED),
            Self::SlowReader => Some(close::SLOW_READER),
            Self::FanOutLost => Some(close::FAN_OUT_LOST),
        }
    }

    pub const fn reason(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Protocol => "protocol error",
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

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An encoded frame, shared among sockets.
    Frame(Utf8Bytes),
    /// Time for a heartbeat.
    Beat,
}

/// Who is at a signed-in socket.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub user: UserId,
    pub session: SessionId,
    pub expires_at: Timestamp,
}

pub struct Mailbox {
    /// None is a guest.
    pub member: Option<Member>,
    pub address: IpAddr,
    waiting: Mutex<Waiting>,
    /// There is something to take.
    posted: Notify,
    /// The end has come; wakes even a session that waits for a slow peer.
    ended: Notify,
    /// Beats since the peer was last heard.
    unheard: AtomicU32,
}

#[derive(Default)]
struct Waiting {
    items: Vec<Item>,
    bytes: usize,
    end: Option<End>,
}

impl Mailbox {
    pub fn new(member: Option<Member>, address: IpAddr) -> Self {
        Self {
            member,
            address,
            waiting: Mutex::default(),
            posted: Notify::new(),
            ended: Notify::new(),
            unheard: AtomicU32::new(0),
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
        let size = match &item {
            Item::Frame(text) => text.as_str().len(),
            Item::Beat => 0,
        };
        if waiting.items.len() >= limits::OUT_QUEUE_EVENTS
            || waiting.bytes + size > limits::OUT_QUEUE
        {
            *waiting = Waiting {
                end: Some(End::SlowReader),
                ..Waiting::default()
            };
            self.ended.notify_one();
            return;
        }
        waiting.bytes += size;
        waiting.items.push(item);
        self.posted.notify_one();
    }

    /// Posts a heartbeat, unless the peer is silent for too long already.
    pub fn beat(&self) {
        if self.unheard.fetch_add(1, Ordering::Relaxed) < SILENT_BEATS {
            self.post(Item::Beat);
        } else {
            self.end(End::Silent);
        }
    }

    /// Notes that the peer said something.
    pub fn hear(&self) {
        self.unheard.store(0, Ordering::Relaxed);
    }

    /// Ends the session; the first reason stays, and nothing that waits is sent.
    pub fn end(&self, end: End) {
        let mut waiting = self.waiting();
        if waiting.end.is_none() {
            *waiting = Waiting {
                end: Some(end),
                ..Waiting::default()
            };
            self.ended.notify_one();
        }
    }

    /// Everything that waits.
    pub fn take(&self) -> Vec<Item> {
        let mut waiting = self.waiting();
        waiting.bytes = 0;
        mem::take(&mut waiting.items)
    }

    /// Returns when there may be something to take.
    pub async fn posted(&self) {
        self.posted.notified().await;
    }

    /// Returns when the session has to end, and why.
    pub async fn ended(&self) -> End {
        loop {
            let end = self.waiting().end;
            if let Some(end) = end {
                return end;
            }
            self.ended.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use chat_events::limits;

    use super::{End, Item, Mailbox, SILENT_BEATS};

    fn mailbox() -> Mailbox {
        Mailbox::new(None, IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    #[tokio::test]
    async fn two_hundred_and_fifty_six_events_may_wait_and_no_more() {
        let mailbox = mailbox();
        for _ in 0..limits::OUT_QUEUE_EVENTS {
            mailbox.post(Item::Beat);
        }
        assert_eq!(mailbox.waiting().end, None);
        mailbox.post(Item::Beat);
        assert_eq!(mailbox.ended().await, End::SlowReader);
        assert!(mailbox.take().is_empty(), "the memory is free");
    }

    #[tokio::test]
    async fn one_mebibyte_may_wait_and_no_more() {
        let mailbox = mailbox();
        let quarter = Item::Frame("x".repeat(limits::OUT_QUEUE / 4).into());
        for _ in 0..4 {
            mailbox.post(quarter.clone());
        }
        assert_eq!(mailbox.waiting().end, None);
        mailbox.post(Item::Frame("x".into()));
        assert_eq!(mailbox.ended().await, End::SlowReader);
    }

    #[tokio::test]
    async fn the_first_reason_to_end_stays_and_nothing_else_is_sent() {
        let mailbox = mailbox();
        mailbox.post(Item::Beat);
        mailbox.end(End::Revoked);
        mailbox.end(End::Expired);
        mailbox.post(Item::Beat);
        assert_eq!(mailbox.ended().await, End::Revoked);
        assert!(mailbox.take().is_empty());
    }

    #[tokio::test]
    async fn a_peer_that_never_answers_is_silent_after_some_beats() {
        let mailbox = mailbox();
        for _ in 0..SILENT_BEATS {
            mailbox.beat();
        }
        assert_eq!(mailbox.waiting().end, None);
        mailbox.hear();
        for _ in 0..SILENT_BEATS {
            mailbox.beat();
        }
        assert_eq!(mailbox.waiting().end, None);
        mailbox.beat();
        assert_eq!(mailbox.ended().await, End::Silent);
    }
}
