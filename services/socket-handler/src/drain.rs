//! The end of a pod: its sockets are told to move, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use chat_events::ServerFrame;
use chat_kit::socket::End;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::frame::item;
use crate::hub::Hub;

/// Each socket adds this to the time over which all move: the others have to take them
/// beside their own work …
const EACH: Duration = Duration::from_millis(20);
/// … but for no less than this …
const SHORTEST: Duration = Duration::from_millis(500);
/// … and no more than this share of the time that the process has in all.
const LONGEST: f64 = 0.6;

/// After `stop`, tells every socket when to reconnect, and closes it then; all of
/// them well within `time`.
pub async fn drain(hub: Arc<Hub>, stop: CancellationToken, time: Duration) {
    stop.cancelled().await;
    let mailboxes = hub.stop();
    let started = Instant::now();
    let sockets = u32::try_from(mailboxes.len()).unwrap_or(u32::MAX);
    let span = EACH
        .saturating_mul(sockets)
        .clamp(SHORTEST, time.mul_f64(LONGEST).max(SHORTEST));
    let mut moves: Vec<_> = mailboxes
        .into_iter()
        .map(|mailbox| (span.mul_f64(rand::random_range(0.0..1.0)), mailbox))
        .collect();
    moves.sort_unstable_by_key(|(delay, _)| *delay);
    for (delay, mailbox) in &moves {
        mailbox.post(item(&ServerFrame::GoingAway {
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        }));
    }
    for (delay, mailbox) in moves {
        sleep_until(started + delay).await;
        mailbox.end(End::Stopping);
    }
}
