//! What is known of this pod's users and of their conversations.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use chat_events::{ConversationId, LogEvent, ServerFrame, SessionId, UserId};
use chat_kit::planted::{self, Bug};
use chat_kit::socket::End;

use super::Mailbox;
use crate::frame::item;

/// So many entries may stay empty.
const ROOM: usize = 1_024;

#[derive(Default)]
pub struct Index {
    pub users: HashMap<UserId, Local>,
    pub conversations: HashMap<ConversationId, Conversation>,
    pub addresses: HashMap<IpAddr, usize>,
    /// Sockets of all users.
    pub open: usize,
    /// Of the messages database, as last heard.
    pub epoch: Option<String>,
    /// Counts the changes of all conversations.
    pub version: u64,
    pub stopping: bool,
}

/// A user with sockets on this pod.
#[derive(Default)]
pub struct Local {
    pub mailboxes: Vec<Arc<Mailbox>>,
    pub conversations: HashSet<ConversationId>,
}

/// A conversation with a member on this pod.
#[derive(Default)]
pub struct Conversation {
    pub seq: i64,
    pub members: Vec<UserId>,
    /// The index' version when `seq` rose.
    pub changed: u64,
    /// Members with sockets on this pod; the last takes the entry along.
    pub users: usize,
}

impl Index {
    pub fn stored(&mut self, members: &[UserId], entry: &LogEvent) {
        self.note(entry.conversation_id(), members, entry.seq());
        if planted::bug(Bug::FanOutToEverybody) {
            let everybody: Vec<UserId> = self.users.keys().copied().collect();
            return self.post(&everybody, None, || ServerFrame::Log(entry.clone()));
        }
        self.post(members, None, || ServerFrame::Log(entry.clone()));
    }

    /// Posts one frame, encoded at most once, to all sockets of `users`.
    pub fn post(&self, users: &[UserId], but: Option<UserId>, frame: impl FnOnce() -> ServerFrame) {
        let mut mailboxes = users
            .iter()
            .filter(|user| Some(**user) != but)
            .filter_map(|user| self.users.get(user))
            .flat_map(|local| &local.mailboxes)
            .peekable();
        if mailboxes.peek().is_none() {
            return;
        }
        let frame = item(&frame());
        for mailbox in mailboxes {
            mailbox.post(frame.clone());
        }
    }

    /// Keeps the newest that is known of a conversation, if a member is here.
    pub fn note(&mut self, id: ConversationId, members: &[UserId], seq: i64) {
        let known = match self.conversations.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                if !members.iter().any(|user| self.users.contains_key(user)) {
                    return;
                }
                self.version += 1;
                new.insert(Conversation {
                    changed: self.version,
                    ..Conversation::default()
                })
            }
        };
        if seq > known.seq {
            self.version += 1;
            known.seq = seq;
            known.changed = self.version;
        }
        // Who came since then is linked by a snapshot.
        if known.members != members {
            known.members = members.to_vec();
            for user in members {
                self.link(*user, id);
            }
        }
    }

    pub fn link(&mut self, user: UserId, id: ConversationId) {
        let (Some(local), Some(conversation)) =
            (self.users.get_mut(&user), self.conversations.get_mut(&id))
        else {
            return;
        };
        if local.conversations.insert(id) {
            conversation.users += 1;
        }
    }

    pub fn remove(&mut self, mailbox: &Arc<Mailbox>) {
        self.open -= 1;
        if let Entry::Occupied(mut count) = self.addresses.entry(mailbox.address) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        let Entry::Occupied(mut local) = self.users.entry(mailbox.peer.user) else {
            return;
        };
        local
            .get_mut()
            .mailboxes
            .retain(|one| !Arc::ptr_eq(one, mailbox));
        if !local.get().mailboxes.is_empty() {
            return;
        }
        for id in local.remove().conversations {
            if let Entry::Occupied(mut conversation) = self.conversations.entry(id) {
                conversation.get_mut().users -= 1;
                if conversation.get().users == 0 {
                    conversation.remove();
                }
            }
        }
        give_back(&mut self.users);
        give_back(&mut self.conversations);
    }

    pub fn revoke(&self, user: UserId, session: SessionId) {
        let mailboxes = self.users.get(&user).map(|local| &local.mailboxes);
        for mailbox in mailboxes.into_iter().flatten() {
            if mailbox.peer.session == session {
                mailbox.end(End::Revoked);
            }
        }
    }

    pub fn forget_everything(&mut self, newcomer: Option<&Mailbox>) {
        self.epoch = None;
        self.conversations.clear();
        for local in self.users.values_mut() {
            local.conversations.clear();
            for mailbox in &local.mailboxes {
                if newcomer.is_none_or(|new| !std::ptr::eq(new, mailbox.as_ref())) {
                    mailbox.end(End::FanOutLost);
                }
            }
        }
    }
}

/// A map keeps the room of its best days unless it is told not to.
fn give_back<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > ROOM && map.len() < map.capacity() / 4 {
        map.shrink_to(2 * map.len());
    }
}
