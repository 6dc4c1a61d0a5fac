//! The second look at those who may have left, after the grace.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{GRACE, Hint, Presence};

/// Users who wait for their second look; more are found by the comparison.
pub const WAITING: usize = 4_096;
/// The database measures the grace: be sure that it is over.
const MARGIN: Duration = Duration::from_millis(30);

pub struct LookAgain {
    presence: Presence,
    incoming: mpsc::Receiver<Hint>,
    /// By time, because all wait equally long.
    waiting: VecDeque<(Instant, Hint)>,
}

impl LookAgain {
    pub fn new(presence: Presence, incoming: mpsc::Receiver<Hint>) -> Self {
        Self {
            presence,
            incoming,
            waiting: VecDeque::new(),
        }
    }

    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = self.waiting.front().map(|(due, _)| *due);
            tokio::select! {
                () = stop.cancelled() => return,
                Some(hint) = self.incoming.recv(), if self.waiting.len() < WAITING => {
                    self.waiting.push_back((Instant::now() + GRACE + MARGIN, hint));
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    let now = Instant::now();
                    let due = self.waiting.partition_point(|(due, _)| *due <= now);
                    let hints: Vec<Hint> = self.waiting.drain(..due).map(|(_, hint)| hint).collect();
                    self.presence.look_or_leave(&hints).await;
                }
            }
        }
    }
}
