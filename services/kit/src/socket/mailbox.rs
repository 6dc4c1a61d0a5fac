//! What waits for one socket: bounded in number and in bytes. Everybody may
//! post; only the session takes.

use std::future::poll_fn;
use std::mem;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use axum::extract::ws::Utf8Bytes;
use chat_events::limits;

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
    heard: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    items: Vec<Item>,
    bytes: usize,
    end: Option<End>,
    /// The session's task, which hears of the end in any case …
    task: Option<Waker>,
    /// … and of items unless it waits for a slow peer.
    wants_items: bool,
}

impl Waiting {
    fn note(&mut self, task: &Waker) {
        match &mut self.task {
            Some(known) => known.clone_from(task),
            None => self.task = Some(task.clone()),
        }
    }
}

impl<P> Mailbox<P> {
    pub fn new(peer: P, address: IpAddr) -> Self {
        Self {
            peer,
            address,
            waiting: Mutex::default(),
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
            waiting.items = Vec::new();
            return finish(waiting, End::SlowReader);
        }
        waiting.bytes = bytes;
        waiting.items.push(item);
        if mem::take(&mut waiting.wants_items) {
            wake(waiting);
        }
    }

    /// Ends the session; the first reason stays.
    pub fn end(&self, end: End) {
        let waiting = self.waiting();
        if waiting.end.is_none() {
            finish(waiting, end);
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

    /// Returns when there is something to take. For the session's one task alone.
    pub async fn posted(&self) {
        poll_fn(|context| self.poll_posted(context)).await;
    }

    fn poll_posted(&self, context: &Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting();
        if !waiting.items.is_empty() {
            return Poll::Ready(());
        }
        waiting.note(context.waker());
        waiting.wants_items = true;
        Poll::Pending
    }

    /// Returns when the session has to end, and why. For the session's one task alone.
    pub async fn ended(&self) -> End {
        poll_fn(|context| self.poll_ended(context)).await
    }

    fn poll_ended(&self, context: &Context<'_>) -> Poll<End> {
        let mut waiting = self.waiting();
        if let Some(end) = waiting.end {
            return Poll::Ready(end);
        }
        waiting.note(context.waker());
        Poll::Pending
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

fn finish(mut waiting: MutexGuard<'_, Waiting>, end: End) {
    waiting.end = Some(end);
    wake(waiting);
}

fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let task = waiting.task.take();
    // Another thread may run it at once.
    drop(waiting);
    if let Some(task) = task {
        task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake};

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

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_session_that_waits_for_its_peer_is_woken_by_the_end_alone() {
        let (mailbox, woken) = (mailbox(), Arc::new(Woken::default()));
        let waker = woken.clone().into();
        let context = Context::from_waker(&waker);
        let count = || woken.0.load(Ordering::Relaxed);
        assert!(mailbox.poll_ended(&context).is_pending());
        assert!(mailbox.poll_posted(&context).is_pending());
        mailbox.post(Item::Beat);
        mailbox.post(Item::Beat);
        assert_eq!(count(), 1);
        assert!(mailbox.poll_posted(&context).is_ready());
        mailbox.take(Vec::new());
        // It writes.
        assert!(mailbox.poll_ended(&context).is_pending());
        mailbox.post(Item::Beat);
        assert_eq!(count(), 1);
        mailbox.end(End::Stopping);
        assert_eq!(count(), 2);
    }
}
