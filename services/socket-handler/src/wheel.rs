//! One clock for all sockets: heartbeats, silent peers and expired tokens. A
//! timer for each socket would cost more than the socket at rest.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use chat_kit::identity::Identity;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::hub::{End, Item, Mailbox};

const TICK: Duration = Duration::from_secs(1);
/// More than the longest time between two looks at a socket.
const SLOTS: usize = 32;

pub struct Wheel {
    heartbeat: u64,
    slots: Mutex<Slots>,
}

struct Slots {
    now: usize,
    due: [Vec<Weak<Mailbox>>; SLOTS],
}

impl Wheel {
    /// Looks at each socket every `heartbeat` seconds, at most 25.
    pub fn new(heartbeat: u64) -> Self {
        Self {
            heartbeat,
            slots: Mutex::new(Slots {
                now: 0,
                due: [const { Vec::new() }; SLOTS],
            }),
        }
    }

    pub const fn heartbeat(&self) -> u64 {
        self.heartbeat
    }

    /// The first look comes at a random time, so that sockets that opened at
    /// once do not beat at once.
    pub fn add(&self, mailbox: &Arc<Mailbox>) {
        let first = rand::random_range(1..=self.heartbeat);
        self.put(mailbox, first, Timestamp::now());
    }

    fn put(&self, mailbox: &Arc<Mailbox>, seconds: u64, now: Timestamp) {
        let left = mailbox.expires_at.duration_since(now).as_millis();
        let left = u64::try_from(left.max(0)).unwrap_or(0).div_ceil(1_000);
        let wait = seconds.min(left).max(1) as usize;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = (slots.now + wait) % SLOTS;
        slots.due[slot].push(Arc::downgrade(mailbox));
    }

    /// One second later: looks at those that are due.
    fn advance(&self, now: Timestamp, is_revoked: impl Fn(&Mailbox) -> bool) {
        let due = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.now = (slots.now + 1) % SLOTS;
            let slot = slots.now;
            mem::take(&mut slots.due[slot])
        };
        for mailbox in due.iter().filter_map(Weak::upgrade) {
            if mailbox.ending().is_some() {
                continue;
            }
            if mailbox.expires_at <= now {
                mailbox.end(End::Expired);
            } else if is_revoked(&mailbox) {
                // The event was missed; auth was asked in the meantime.
                mailbox.end(End::Revoked);
            } else if !mailbox.was_heard() {
                mailbox.end(End::Silent);
            } else {
                mailbox.post(Item::Beat);
                self.put(&mailbox, self.heartbeat, now);
            }
        }
    }

    /// Turns until `stop`.
    pub async fn turn(&self, identity: Identity, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            self.advance(Timestamp::now(), |mailbox| {
                identity.is_revoked(mailbox.session)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chat_events::UserId;
    use jiff::{SignedDuration, Timestamp};

    use super::Wheel;
    use crate::hub::{End, Item, Mailbox};

    /// Lets `seconds` pass; returns when the socket was told to beat.
    fn pass(wheel: &Wheel, mailbox: &Mailbox, seconds: i64, answers: bool) -> Vec<i64> {
        let start = Timestamp::now();
        let mut beats = Vec::new();
        for second in 1..=seconds {
            wheel.advance(start + SignedDuration::from_secs(second), |_| false);
            if mailbox.take(Vec::new()).contains(&Item::Beat) {
                beats.push(second);
                if answers {
                    mailbox.hear();
                }
            }
        }
        beats
    }

    #[test]
    fn a_socket_beats_at_least_every_twenty_five_seconds() {
        let (wheel, mailbox) = (Wheel::new(25), Arc::new(Mailbox::of(UserId::generate())));
        wheel.add(&mailbox);
        let beats = pass(&wheel, &mailbox, 500, true);
        assert!(beats.len() >= 19, "{beats:?}");
        assert!(
            beats.windows(2).all(|two| two[1] - two[0] == 25),
            "{beats:?}"
        );
        assert_eq!(mailbox.ending(), None);
    }

    #[test]
    fn a_silent_peer_is_dropped_within_two_intervals() {
        let (wheel, mailbox) = (Wheel::new(20), Arc::new(Mailbox::of(UserId::generate())));
        wheel.add(&mailbox);
        let beats = pass(&wheel, &mailbox, 40, false);
        assert_eq!(beats.len(), 1);
        assert_eq!(mailbox.ending(), Some(End::Silent));
    }

    #[test]
    fn a_socket_ends_with_its_token_to_the_second() {
        let mut mailbox = Mailbox::of(UserId::generate());
        mailbox.expires_at = Timestamp::now() + SignedDuration::from_secs(33);
        let (wheel, mailbox) = (Wheel::new(20), Arc::new(mailbox));
        wheel.add(&mailbox);
        pass(&wheel, &mailbox, 32, true);
        assert_eq!(mailbox.ending(), None);
        pass_from(&wheel, 33, 34);
        assert_eq!(mailbox.ending(), Some(End::Expired));
    }

    fn pass_from(wheel: &Wheel, first: i64, last: i64) {
        for second in first..=last {
            let now = Timestamp::now() + SignedDuration::from_secs(second);
            wheel.advance(now, |_| false);
        }
    }

    #[test]
    fn an_ended_session_is_found_even_when_its_event_was_missed() {
        let (wheel, mailbox) = (Wheel::new(20), Arc::new(Mailbox::of(UserId::generate())));
        wheel.add(&mailbox);
        for _ in 0..20 {
            wheel.advance(Timestamp::now(), |one| one.session == mailbox.session);
        }
        assert_eq!(mailbox.ending(), Some(End::Revoked));
    }
}
