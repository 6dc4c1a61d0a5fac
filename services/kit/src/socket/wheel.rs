//! One clock for all sockets: heartbeats, silent peers and expired tokens. A
//! timer for each socket would cost more than the socket at rest.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use chat_events::SessionId;
use jiff::Timestamp;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{End, Item, Mailbox, Peer};
use crate::identity::Identity;

const TICK: Duration = Duration::from_secs(1);
/// More than the longest time between two looks at a socket.
const SLOTS: usize = 32;

pub struct Wheel<P> {
    heartbeat: u64,
    slots: Mutex<Slots<P>>,
}

struct Slots<P> {
    now: usize,
    due: [Vec<Weak<Mailbox<P>>>; SLOTS],
}

impl<P: Peer> Wheel<P> {
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

    /// The first look comes at a random time, so that sockets that opened at
    /// once do not beat at once.
    pub fn add(&self, mailbox: &Arc<Mailbox<P>>) {
        let first = rand::random_range(1..=self.heartbeat);
        self.put(mailbox, first, Timestamp::now());
    }

    fn put(&self, mailbox: &Arc<Mailbox<P>>, seconds: u64, now: Timestamp) {
        let left = mailbox.peer.session().map_or(u64::MAX, |(_, end)| {
            let left = end.duration_since(now).as_millis().max(0);
            u64::try_from(left).unwrap_or(0).div_ceil(1_000)
        });
        let wait = seconds.min(left).max(1) as usize;
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = (slots.now + wait) % SLOTS;
        slots.due[slot].push(Arc::downgrade(mailbox));
    }

    /// One second later: looks at those that are due.
    fn advance(&self, now: Timestamp, is_revoked: impl Fn(SessionId) -> bool) {
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
            let session = mailbox.peer.session();
            if session.is_some_and(|(_, end)| end <= now) {
                mailbox.end(End::Expired);
            } else if session.is_some_and(|(id, _)| is_revoked(id)) {
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
        let is_revoked = |session| identity.is_revoked(session);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.advance(Timestamp::now(), is_revoked),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use chat_events::{SessionId, limits};
    use jiff::{SignedDuration, Timestamp};

    use super::Wheel;
    use crate::socket::{End, Item, Mailbox, Peer};

    struct Member(SessionId, Timestamp);
    type Someone = Option<Member>;

    impl Peer for Member {
        fn session(&self) -> Option<(SessionId, Timestamp)> {
            Some((self.0, self.1))
        }
    }

    fn mailbox(someone: Someone) -> Arc<Mailbox<Someone>> {
        Arc::new(Mailbox::new(someone, IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    fn until(expires_at: Timestamp) -> Someone {
        Some(Member(SessionId::generate(), expires_at))
    }

    /// Lets `seconds` pass; returns when the socket was told to beat.
    fn pass(
        wheel: &Wheel<Someone>,
        mailbox: &Mailbox<Someone>,
        seconds: i64,
        answers: bool,
    ) -> Vec<i64> {
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
        let (wheel, mailbox) = (Wheel::new(25), mailbox(None));
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
        let (wheel, mailbox) = (Wheel::new(20), mailbox(None));
        wheel.add(&mailbox);
        let beats = pass(&wheel, &mailbox, 40, false);
        assert_eq!(beats.len(), 1);
        assert_eq!(mailbox.ending(), Some(End::Silent));
    }

    #[test]
    fn a_socket_ends_with_its_token_to_the_second() {
        let expires_at = Timestamp::now() + SignedDuration::from_secs(33);
        let (wheel, mailbox) = (Wheel::new(20), mailbox(until(expires_at)));
        wheel.add(&mailbox);
        pass(&wheel, &mailbox, 32, true);
        assert_eq!(mailbox.ending(), None);
        for second in 33..=34 {
            let now = Timestamp::now() + SignedDuration::from_secs(second);
            wheel.advance(now, |_| false);
        }
        assert_eq!(mailbox.ending(), Some(End::Expired));
    }

    #[test]
    fn an_ended_session_is_found_even_when_its_event_was_missed() {
        let wheel = Wheel::new(20);
        let someone = until(Timestamp::now() + limits::ACCESS_TOKEN);
        let sockets = [mailbox(someone), mailbox(None)];
        for mailbox in &sockets {
            wheel.add(mailbox);
        }
        for _ in 0..20 {
            wheel.advance(Timestamp::now(), |_| true);
        }
        let ends = sockets.map(|mailbox| mailbox.ending());
        assert_eq!(ends, [Some(End::Revoked), None]);
    }
}
