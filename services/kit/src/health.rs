//! Which of the things that we need are there: what `/readyz` says.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The parts that must be up before this process takes requests.
#[derive(Clone, Default)]
pub struct Readiness {
    parts: Arc<Mutex<BTreeMap<&'static str, Arc<AtomicBool>>>>,
    changed: Arc<Notify>,
}

/// One part's state; starts as not ready.
#[derive(Clone)]
pub struct Part {
    name: &'static str,
    ready: Arc<AtomicBool>,
    changed: Arc<Notify>,
}

impl Readiness {
    pub fn part(&self, name: &'static str) -> Part {
        let ready = Arc::new(AtomicBool::new(false));
        self.parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, ready.clone());
        let changed = self.changed.clone();
        Part {
            name,
            ready,
            changed,
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
        self.parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, ready)| (*name, ready.load(Ordering::Acquire)))
            .collect()
    }
}

impl Part {
    /// Notes the state and logs when it changes.
    pub fn set(&self, ready: bool) {
        if self.ready.swap(ready, Ordering::AcqRel) != ready {
            if ready {
                tracing::info!(part = self.name, "ready");
            } else {
                tracing::warn!(part = self.name, "not ready");
            }
            self.changed.notify_waiters();
        }
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}
