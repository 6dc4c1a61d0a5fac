//! One clock for the heartbeats of all sockets and for the ends of their tokens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::mailbox::{End, Mailbox};

/// Turned once a second.
pub struct Wheel {
    turning: Mutex<Turning>,
}

struct Turning {
    /// Each socket is in one slot, and so has one beat per turn.
    slots: Vec<Vec<Weak<Mailbox>>>,
    hand: usize,
    /// Where the next socket goes: all slots in turn, so that beats spread.
    next: usize,
    /// By the second since 1970 at which the token expires.
    ends: BTreeMap<i64, Vec<Weak<Mailbox>>>,
}

impl Wheel {
    pub fn new(seconds_per_turn: u64) -> Self {
        let slots = usize::try_from(seconds_per_turn).unwrap_or(1).max(1);
        Self {
            turning: Mutex::new(Turning {
                slots: vec![Vec::new(); slots],
                hand: 0,
                next: 0,
                ends: BTreeMap::new(),
            }),
        }
    }

    pub fn add(&self, mailbox: &Arc<Mailbox>) {
        let mut turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = turning.next;
        turning.next = (slot + 1) % turning.slots.len();
        turning.slots[slot].push(Arc::downgrade(mailbox));
        if let Some(member) = mailbox.member {
            turning
                .ends
                .entry(member.expires_at.as_second())
                .or_default()
                .push(Arc::downgrade(mailbox));
        }
    }

    /// Goes on by one slot. `now` is the second since 1970.
    pub fn step(&self, now: i64) {
        let mut turning = self.turning.lock().unwrap_or_else(PoisonError::into_inner);
        let hand = turning.hand;
        turning.hand = (hand + 1) % turning.slots.len();
        turning.slots[hand].retain(|mailbox| {
            let mailbox = mailbox.upgrade();
            if let Some(mailbox) = &mailbox {
                mailbox.beat();
            }
            mailbox.is_some()
        });
        let later = turning.ends.split_off(&(now + 1));
        let ended = std::mem::replace(&mut turning.ends, later);
        for mailbox in ended.into_values().flatten() {
            if let Some(mailbox) = mailbox.upgrade() {
                mailbox.end(End::Expired);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use chat_events::{SessionId, UserId};
    use futures::FutureExt;
    use jiff::Timestamp;

    use super::super::mailbox::{End, Item, Mailbox, Member};
    use super::Wheel;

    fn expiring(second: i64) -> Arc<Mailbox> {
        let member = Member {
            user: UserId::generate(),
            session: SessionId::generate(),
            expires_at: Timestamp::from_second(second).unwrap_or_default(),
        };
        Arc::new(Mailbox::new(Some(member), IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    #[test]
    fn every_socket_has_one_beat_per_turn() {
        let wheel = Wheel::new(5);
        let sockets: Vec<_> = (0..12).map(|_| expiring(1_000)).collect();
        for socket in &sockets {
            wheel.add(socket);
        }
        for turn in 0..2 {
            for second in 0..5 {
                wheel.step(turn * 5 + second);
            }
            for socket in &sockets {
                assert_eq!(socket.take(), [Item::Beat]);
            }
        }
    }

    #[test]
    fn a_socket_ends_in_the_second_in_which_its_token_expires() {
        let wheel = Wheel::new(20);
        let (early, late) = (expiring(100), expiring(101));
        wheel.add(&early);
        wheel.add(&late);
        wheel.step(99);
        assert_eq!(early.ended().now_or_never(), None);
        wheel.step(100);
        assert_eq!(early.ended().now_or_never(), Some(End::Expired));
        assert_eq!(late.ended().now_or_never(), None);
    }
}
