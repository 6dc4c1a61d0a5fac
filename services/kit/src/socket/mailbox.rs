//! What waits for one socket: bounded in number and in bytes. Everybody may
//! post; only the session takes.

use std::mem;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use chat_events::limits;
use tokio::sync::Notify;

use super::End;

/// One thing for the socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A frame's `type` and its encoded text, shared among sockets.
    Frame(&'static str, Utf8Bytes),
    /// Time for a heartbeat.
    Beat,
}

impl Item {
    fn size(&self) -> usize {
        match self {
            Self::Frame(_, text) => text.as_str().len(),
            Self::Beat => 0,
        }
    }
}

pub struct Mailbox<P> {
    pub peer: P,
    pub address: IpAddr,
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

impl<P> Mailbox<P> {
    pub fn new(peer: P, address: IpAddr) -> Self {
        Self {
            peer,
            address,
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

    /// Returns when there may be something to take.
    pub async fn posted(&self) {
        self.posted.notified().await;
    }

    /// Returns when the session has to end, and why. For the session alone.
    pub async fn ended(&self) -> End {
        loop {
            if let Some(end) = self.ending() {
                return end;
            }
            self.ended.notified().await;
        }
    }

    /// Notes that the peer said something.
    pub fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Whether the peer said something since the last call.
    pub(super) fn was_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use chat_events::limits;
    use futures::FutureExt;

    use super::{End, Item, Mailbox};

    fn mailbox() -> Mailbox<()> {
        Mailbox::new((), IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    #[test]
    fn two_hundred_and_fifty_six_events_may_wait_and_no_more() {
        let mailbox = mailbox();
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
        let mailbox = mailbox();
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
        let mailbox = mailbox();
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
        let mailbox = mailbox();
        assert_eq!(mailbox.ended().now_or_never(), None);
        mailbox.end(End::Revoked);
        mailbox.end(End::Expired);
        mailbox.post(Item::Beat);
        assert_eq!(mailbox.ended().now_or_never(), Some(End::Revoked));
        assert!(mailbox.take(Vec::new()).is_empty());
    }
}
