//! Which of the things that we need are there: what `/readyz` and `/readyz/requests` say.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The parts that must be up before this process takes requests.
#[derive(Clone, Default)]
pub struct Readiness {
    parts: Arc<Mutex<BTreeMap<&'static str, Arc<State>>>>,
    changed: Arc<Notify>,
}

/// One part; starts as not ready.
#[derive(Clone)]
pub struct Part {
    name: &'static str,
    state: Arc<State>,
    changed: Arc<Notify>,
}

struct State {
    ready: AtomicBool,
    /// Whether it has ever been ready.
    was_ready: AtomicBool,
    /// Without it nothing can be answered.
    always: bool,
}

impl Readiness {
    /// Without it no request is taken.
    pub fn part(&self, name: &'static str) -> Part {
        self.add(name, true)
    }

    /// No request is taken before it is there. Later requests go on without it: it is away
    /// for every pod at once, and much can be answered meanwhile.
    pub fn part_to_start(&self, name: &'static str) -> Part {
        self.add(name, false)
    }

    fn add(&self, name: &'static str, always: bool) -> Part {
        let state = Arc::new(State {
            ready: AtomicBool::new(false),
            was_ready: AtomicBool::new(false),
            always,
        });
        self.parts().insert(name, state.clone());
        Part {
            name,
            state,
            changed: self.changed.clone(),
        }
    }

    /// Comes back when every part is ready.
    pub async fn all(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.report().values().all(|ready| *ready) {
                return;
            }
            changed.await;
        }
    }

    /// Every part with its state, by name.
    pub fn report(&self) -> BTreeMap<&'static str, bool> {
        let parts = self.parts();
        let parts = parts.iter();
        parts.map(|(name, part)| (*name, part.is_ready())).collect()
    }

    /// Whether requests should come to this process rather than to another one.
    pub fn takes_requests(&self) -> bool {
        self.parts()
            .values()
            .all(|part| part.is_ready() || (!part.always && part.was_ready.load(Ordering::Acquire)))
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<&'static str, Arc<State>>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

impl Part {
    /// Notes the state and logs when it changes.
    pub fn set(&self, ready: bool) {
        if self.state.ready.swap(ready, Ordering::AcqRel) != ready {
            if ready {
                self.state.was_ready.store(true, Ordering::Release);
                tracing::info!(part = self.name, "ready");
            } else {
                tracing::warn!(part = self.name, "not ready");
            }
            self.changed.notify_waiters();
        }
    }

    pub fn is_ready(&self) -> bool {
        self.state.is_ready()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_when_every_part_has_been_there_and_go_on_without_some() {
        let readiness = Readiness::default();
        let database = readiness.part("database");
        let broker = readiness.part_to_start("broker");
        database.set(true);
        assert!(!readiness.takes_requests());
        broker.set(true);
        assert!(readiness.takes_requests());
        broker.set(false);
        assert!(readiness.takes_requests());
        assert!(!readiness.report()["broker"]);
        database.set(false);
        assert!(!readiness.takes_requests());
    }
}
