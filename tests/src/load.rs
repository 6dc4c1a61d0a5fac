//! Load for measurements: sockets that read no JSON, people made in the tables, what
//! it took of each server, and afterwards a history that the
//! [checker](crate::checker) judges like any other. See `docs/performance.md`.

pub mod counters;
pub mod pace;
pub mod pairs;
mod people;
pub mod room;
pub mod socket;
pub mod tape;
pub mod usage;

pub use people::{Cast, Door, Member};
pub use tape::judge;

use hdrhistogram::Histogram;

/// Of microseconds, up to a minute, with three digits.
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).unwrap_or_else(|error| unreachable!("{error}"))
}
