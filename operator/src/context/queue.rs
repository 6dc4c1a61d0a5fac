//! Which ChatCluster is next. No I/O.
//!
//! A ChatCluster waits at most once and runs at most once. Changes by people come
//! before what the cluster reports, and that before the first look after a start. But a
//! crowd of changes does not hold up what was begun: only every second turn is theirs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::chat::ChatRef;
use crate::metrics;

/// Why it should be looked at; the first is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Somebody made or changed the ChatCluster.
    Edited,
    /// Something that it owns or refers to changed.
    Touched,
    /// The operator has just begun to lead.
    First,
}

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(5);

/// What the cluster reports comes in bursts: a ChatCluster that was just looked at rests
/// so long before it is looked at again for that.
const REST: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By reason and arrival.
    ready: BTreeMap<(Reason, u64), ChatRef>,
    /// The last turn was an edit's.
    was_edit: bool,
    places: HashMap<ChatRef, Place>,
    /// Tries again at this time, unless something happens before.
    later: BTreeSet<(Instant, ChatRef)>,
    running: HashMap<ChatRef, Running>,
    /// Until when each rests.
    rests: HashMap<ChatRef, Instant>,
    failures: HashMap<ChatRef, u32>,
    arrivals: u64,
    closed: bool,
}

#[derive(Debug)]
struct Place {
    reason: Reason,
    arrival: u64,
    since: Instant,
}

#[derive(Debug)]
struct Running {
    since: Instant,
    again: Option<Reason>,
}

/// What came of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do until something happens.
    Done,
    /// Nothing to do until then, unless something happens.
    Again(Duration),
    /// To be tried again, each time a bit later.
    Failed,
}

impl Queue {
    pub fn add(&self, chat: ChatRef, reason: Reason) {
        self.lock().add(chat, reason);
        self.wake.notify_one();
    }

    /// The next one, or `None` when the queue was closed. Say [`Self::done`] after it.
    pub async fn next(&self) -> Option<ChatRef> {
        loop {
            let due = {
                let mut state = self.lock();
                if state.closed {
                    // There may be other workers that wait.
                    self.wake.notify_one();
                    return None;
                }
                state.promote(Instant::now());
                if let Some((chat, waited)) = state.take() {
                    metrics::waited(waited);
                    if !state.ready.is_empty() {
                        self.wake.notify_one();
                    }
                    return Some(chat);
                }
                state.later.first().map(|(due, _)| *due)
            };
            match due {
                Some(due) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    /// Its pass is over.
    pub fn done(&self, chat: &ChatRef, outcome: Outcome) {
        self.lock().done(chat, outcome);
        self.wake.notify_one();
    }

    /// It does not exist any more.
    pub fn forget(&self, chat: &ChatRef) {
        let mut state = self.lock();
        state.withdraw(chat);
        state.failures.remove(chat);
        state.rests.remove(chat);
    }

    /// Nothing new is taken from now on.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    pub fn depth(&self) -> usize {
        self.lock().ready.len()
    }

    /// Those that wait because they failed.
    pub fn failing(&self) -> usize {
        self.lock().failures.len()
    }

    /// How long the oldest pass has been running.
    pub fn longest(&self) -> Duration {
        let state = self.lock();
        let oldest = state
            .running
            .values()
            .map(|running| running.since.elapsed());
        oldest.max().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, chat: ChatRef, reason: Reason) {
        if let Some(running) = self.running.get_mut(&chat) {
            running.again = Some(running.again.map_or(reason, |other| other.min(reason)));
            return;
        }
        // What it holds now may be what it failed for: an edit starts afresh.
        if reason == Reason::Edited {
            self.failures.remove(&chat);
        } else if self.failures.contains_key(&chat) && self.is_later(&chat) {
            // Events that its own failing passes cause must not undo the back-off.
            return;
        }
        if self
            .places
            .get(&chat)
            .is_some_and(|place| place.reason <= reason)
        {
            return;
        }
        let waits = self.places.contains_key(&chat);
        if reason == Reason::Touched && !waits && self.rest(&chat) {
            return;
        }
        let before = self.withdraw(&chat);
        let since = before.map_or_else(Instant::now, |place| place.since);
        self.enter(chat, reason, since);
    }

    /// Whether it rests; its turn comes then when it has.
    fn rest(&mut self, chat: &ChatRef) -> bool {
        let end = self.rests.get(chat).copied();
        let Some(end) = end.filter(|end| *end > Instant::now()) else {
            return false;
        };
        let is_sooner = |(due, other): &(Instant, ChatRef)| other == chat && *due <= end;
        if !self.later.iter().any(is_sooner) {
            self.later.retain(|(_, other)| other != chat);
            self.later.insert((end, chat.clone()));
        }
        true
    }

    fn enter(&mut self, chat: ChatRef, reason: Reason, since: Instant) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        self.ready.insert((reason, arrival), chat.clone());
        let place = Place {
            reason,
            arrival,
            since,
        };
        self.places.insert(chat, place);
    }

    fn is_later(&self, chat: &ChatRef) -> bool {
        self.later.iter().any(|(_, other)| other == chat)
    }

    fn withdraw(&mut self, chat: &ChatRef) -> Option<Place> {
        self.later.retain(|(_, other)| other != chat);
        let place = self.places.remove(chat)?;
        self.ready.remove(&(place.reason, place.arrival));
        Some(place)
    }

    fn promote(&mut self, now: Instant) {
        while let Some((due, chat)) = self.later.pop_first() {
            if due > now {
                self.later.insert((due, chat));
                return;
            }
            self.enter(chat, Reason::Touched, now);
        }
    }

    /// The first one, and how long it has waited.
    fn take(&mut self) -> Option<(ChatRef, Duration)> {
        let reported = if self.was_edit {
            self.ready.range((Reason::Touched, 0)..).next()
        } else {
            None
        };
        let (&turn, _) = reported.or_else(|| self.ready.first_key_value())?;
        self.was_edit = turn.0 == Reason::Edited;
        let chat = self.ready.remove(&turn)?;
        let place = self.places.remove(&chat);
        let running = Running {
            since: Instant::now(),
            again: None,
        };
        self.running.insert(chat.clone(), running);
        let waited = place.map_or(Duration::ZERO, |place| place.since.elapsed());
        Some((chat, waited))
    }

    fn done(&mut self, chat: &ChatRef, outcome: Outcome) {
        let again = self.running.remove(chat).and_then(|running| running.again);
        self.rests.insert(chat.clone(), Instant::now() + REST);
        let wait = match outcome {
            Outcome::Failed => {
                let failures = self.failures.entry(chat.clone()).or_default();
                *failures += 1;
                Some(retry_after(*failures).mul_f64(rand::random_range(0.9..1.1)))
            }
            Outcome::Done | Outcome::Again(_) => {
                self.failures.remove(chat);
                match outcome {
                    Outcome::Again(wait) => Some(wait),
                    _ => None,
                }
            }
        };
        if let Some(wait) = wait {
            self.later.insert((Instant::now() + wait, chat.clone()));
        }
        if let Some(reason) = again {
            self.add(chat.clone(), reason);
        }
    }
}

/// 1, 2, 4, … 300 seconds.
fn retry_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(9);
    (FIRST_RETRY * 2_u32.pow(doublings)).min(LAST_RETRY)
}

#[cfg(test)]
mod tests;
