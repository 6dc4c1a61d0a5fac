//! An open loop: messages become due at their own times, however late the answers
//! are. A thread keeps the time, because timers of the runtime are too coarse.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A moment at which a message was meant to be sent.
pub type Due = UnboundedReceiver<Instant>;

/// Gives moments to `players` in turn, `rate` in a second for `length`.
#[expect(
    clippy::disallowed_methods,
    reason = "the runtime's clock is as coarse as the latencies that are measured"
)]
pub fn every(rate: f64, length: Duration, players: usize) -> Vec<Due> {
    let (senders, receivers): (Vec<UnboundedSender<_>>, Vec<_>) =
        (0..players).map(|_| unbounded_channel()).unzip();
    let start = Instant::now();
    std::thread::spawn(move || {
        let count = (rate * length.as_secs_f64()) as u64;
        for number in 0..count {
            let due = start + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // Whoever has ended early wants no more.
            let _ = senders[number as usize % players].send(due);
        }
    });
    receivers
}
