//! All sockets of this pod.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_events::{Code, NoticeView, NotificationFrame, SessionRevoked, UserId};
use chat_kit::identity::Identity;
use chat_kit::socket::{self, End, Item, SocketArgs, Wheel};
use chat_kit::{Problem, metrics as names};
use tokio_util::sync::CancellationToken;

use super::member::Member;

/// Without a member it is a guest's.
pub type Mailbox = socket::Mailbox<Option<Member>>;

pub struct Hub {
    limits: SocketArgs,
    sockets: Mutex<Sockets>,
    wheel: Wheel<Option<Member>>,
}

#[derive(Default)]
struct Sockets {
    next: u64,
    all: HashMap<u64, Arc<Mailbox>>,
    of_user: HashMap<UserId, HashSet<u64>>,
    at_address: HashMap<IpAddr, usize>,
    stopping: bool,
}

/// A place in the hub; given back when it is dropped.
pub struct Seat {
    hub: Arc<Hub>,
    number: u64,
    pub mailbox: Arc<Mailbox>,
}

impl Hub {
    pub fn new(limits: SocketArgs) -> Arc<Self> {
        Arc::new(Self {
            limits,
            sockets: Mutex::default(),
            wheel: Wheel::new(limits.heartbeat_seconds),
        })
    }

    fn sockets(&self) -> MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the mailbox gets what its socket must hear.
    pub fn admit(self: &Arc<Self>, mailbox: Mailbox) -> Result<Seat, Problem> {
        let mailbox = Arc::new(mailbox);
        let user = mailbox.peer.map(|member| member.user);
        let mut guard = self.sockets();
        let sockets = &mut *guard;
        if sockets.stopping || sockets.all.len() >= self.limits.max_sockets {
            return Err(Code::Unavailable.into());
        }
        let of_user = user
            .and_then(|user| sockets.of_user.get(&user))
            .map_or(0, HashSet::len);
        let at_address = sockets.at_address.get(&mailbox.address).copied();
        if of_user >= self.limits.sockets_per_user
            || at_address.unwrap_or_default() >= self.limits.sockets_per_address
        {
            return Err(Code::TooManySockets.into());
        }
        let number = sockets.next;
        sockets.next += 1;
        sockets.all.insert(number, mailbox.clone());
        *sockets.at_address.entry(mailbox.address).or_default() += 1;
        if let Some(user) = user {
            sockets.of_user.entry(user).or_default().insert(number);
        }
        drop(guard);
        self.wheel.add(&mailbox);
        metrics::gauge!(names::SOCKETS, "kind" => "notifications").increment(1);
        Ok(Seat {
            hub: self.clone(),
            number,
            mailbox,
        })
    }

    /// Posts a frame for every socket of the user; returns whether there is one.
    pub fn tell(&self, user: UserId, item: &Item) -> bool {
        let sockets = self.sockets();
        let Some(own) = sockets.of_user.get(&user) else {
            return false;
        };
        for mailbox in own.iter().filter_map(|number| sockets.all.get(number)) {
            mailbox.post(item.clone());
        }
        true
    }

    /// Those of the users who have a socket here.
    pub fn here(&self, users: &[UserId]) -> Vec<UserId> {
        let sockets = self.sockets();
        let is_here = |user: &UserId| sockets.of_user.contains_key(user);
        users.iter().copied().filter(is_here).collect()
    }

    /// All users who have a socket here.
    pub fn users(&self) -> Vec<UserId> {
        self.sockets().of_user.keys().copied().collect()
    }

    pub fn users_here(&self) -> usize {
        self.sockets().of_user.len()
    }

    /// Posts a frame for every socket, guests included.
    pub fn tell_all(&self, frame: &NotificationFrame) {
        let item = item(frame);
        for mailbox in self.sockets().all.values() {
            mailbox.post(item.clone());
        }
    }

    /// Posts a frame for every socket with a session.
    pub fn tell_members(&self, frame: &NotificationFrame) {
        let item = item(frame);
        let sockets = self.sockets();
        let members = sockets.all.values();
        for mailbox in members.filter(|mailbox| mailbox.peer.is_some()) {
            mailbox.post(item.clone());
        }
    }

    /// Ends the sockets of a session.
    pub fn revoke(&self, revoked: &SessionRevoked) {
        let sockets = self.sockets();
        let own = sockets.of_user.get(&revoked.user_id).into_iter().flatten();
        for mailbox in own.filter_map(|number| sockets.all.get(number)) {
            if mailbox
                .peer
                .is_some_and(|member| member.session == revoked.session_id)
            {
                mailbox.end(End::Revoked);
            }
        }
    }

    pub fn end_all(&self, end: End) {
        for mailbox in self.sockets().all.values() {
            mailbox.end(end);
        }
    }

    /// Keeps heartbeats and expiries going; ends all sockets at `stop`.
    pub async fn turn(self: Arc<Self>, identity: Identity, stop: CancellationToken) {
        self.wheel.turn(identity, stop).await;
        self.sockets().stopping = true;
        self.end_all(End::Stopping);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut guard = self.hub.sockets();
        let sockets = &mut *guard;
        sockets.all.remove(&self.number);
        if let Some(count) = sockets.at_address.get_mut(&self.mailbox.address) {
            *count -= 1;
            if *count == 0 {
                sockets.at_address.remove(&self.mailbox.address);
            }
        }
        if let Some(member) = self.mailbox.peer
            && let Some(own) = sockets.of_user.get_mut(&member.user)
        {
            own.remove(&self.number);
            if own.is_empty() {
                sockets.of_user.remove(&member.user);
            }
        }
        drop(guard);
        metrics::gauge!(names::SOCKETS, "kind" => "notifications").decrement(1);
    }
}

/// The frame of a notice, encoded once for all receivers: only the counts differ.
pub struct NoticeFrame {
    /// Everything before the count.
    begin: String,
}

impl NoticeFrame {
    pub fn new(notice: &NoticeView) -> Self {
        // Types of our own without maps always encode.
        let notice = serde_json::to_string(notice).unwrap_or_default();
        Self {
            begin: format!(r#"{{"type":"notice","notice":{notice},"unread":"#),
        }
    }

    pub fn with(&self, unread: i64) -> Item {
        Item::Frame("notice", format!("{}{unread}}}", self.begin).into())
    }
}

/// Encoded once, for any number of sockets.
pub fn item(frame: &NotificationFrame) -> Item {
    let kind = match frame {
        NotificationFrame::Hello { .. } => "hello",
        NotificationFrame::UserOnline { .. } => "user.online",
        NotificationFrame::UserOffline { .. } => "user.offline",
        NotificationFrame::UserUpdated { .. } => "user.updated",
        NotificationFrame::Notice { .. } => "notice",
        NotificationFrame::Unread { .. } => "unread",
        NotificationFrame::Heartbeat {} => "heartbeat",
        NotificationFrame::Error { .. } => "error",
        NotificationFrame::GoingAway { .. } => "going_away",
    };
    // Types of our own without maps always encode.
    let text = serde_json::to_string(frame).unwrap_or_default();
    Item::Frame(kind, text.into())
}

#[cfg(test)]
mod tests {
    use chat_events::{ConversationId, MessageId, NoticeView, NotificationFrame, UserId};
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::{NoticeFrame, item};

    #[test]
    fn a_notice_that_is_encoded_once_is_the_frame_that_every_receiver_expects() {
        let notice = NoticeView {
            id: Uuid::now_v7(),
            conversation_id: ConversationId::generate(),
            message_id: MessageId::generate(),
            seq: 7,
            sender_id: UserId::generate(),
            sender_username: "ann".into(),
            preview: "\"hi\"".into(),
            created_at: Timestamp::now(),
            read_at: None,
        };
        let frame = NoticeFrame::new(&notice);
        for unread in [0, 12] {
            let notice = notice.clone();
            let expected = item(&NotificationFrame::Notice { notice, unread });
            assert_eq!(frame.with(unread), expected);
        }
    }
}
