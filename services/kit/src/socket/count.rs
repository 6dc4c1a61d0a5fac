//! Frames, counted by type.

use std::cell::RefCell;

use metrics::Counter;

use crate::metrics::FRAMES;

type Known = RefCell<Vec<(&'static str, Counter)>>;

// To find a counter by its labels takes longer than to put a frame together.
thread_local! {
    static SENT: Known = const { RefCell::new(Vec::new()) };
    static RECEIVED: Known = const { RefCell::new(Vec::new()) };
}

/// Counts a frame that leaves.
pub fn sent(kind: &'static str) {
    SENT.with_borrow_mut(|known| count(known, "out", kind));
}

/// Counts a frame that has come.
pub fn received(kind: &'static str) {
    RECEIVED.with_borrow_mut(|known| count(known, "in", kind));
}

fn count(known: &mut Vec<(&'static str, Counter)>, direction: &'static str, kind: &'static str) {
    let place = known.iter().position(|(name, _)| *name == kind);
    let place = place.unwrap_or_else(|| {
        let counter = metrics::counter!(FRAMES, "direction" => direction, "type" => kind);
        known.push((kind, counter));
        known.len() - 1
    });
    known[place].1.increment(1);
}
