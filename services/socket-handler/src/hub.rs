//! The sockets of this pod, and what their users may see: the index through
//! which every pushed event finds its sockets. One plain mutex, never held
//! across an await.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_events::{ConversationId, Event, Position, ServerFrame, SessionId, UserId};
use chat_kit::identity::Authenticated;
use chat_kit::socket::{self, End, Item, SocketArgs};
use uuid::Uuid;

use self::index::Index;
use crate::messages::Positions;

mod caller;
mod index;

pub use caller::Caller;

pub type Mailbox = socket::Mailbox<Caller>;

pub struct Hub {
    limits: SocketArgs,
    index: Mutex<Index>,
}

/// Why there is no place for another socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    TooMany,
    /// Another pod may have one.
    Full,
    Stopping,
}

/// A place in the index; given back when it is dropped.
pub struct Registration {
    hub: Arc<Hub>,
    mailbox: Arc<Mailbox>,
}

impl Registration {
    pub fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.index().remove(&self.mailbox);
    }
}

impl Hub {
    pub fn new(limits: SocketArgs) -> Arc<Self> {
        Arc::new(Self {
            limits,
            index: Mutex::default(),
        })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. From now on pushes for the user wait in the mailbox.
    pub fn register(
        self: &Arc<Self>,
        caller: &Authenticated,
        address: IpAddr,
    ) -> Result<Registration, NoPlace> {
        self.add(Mailbox::new(caller.into(), address))
    }

    pub(crate) fn add(self: &Arc<Self>, mailbox: Mailbox) -> Result<Registration, NoPlace> {
        let mut index = self.index();
        if index.stopping {
            return Err(NoPlace::Stopping);
        }
        let of_user = index
            .users
            .get(&mailbox.peer.user)
            .map_or(0, |local| local.mailboxes.len());
        let of_address = index.addresses.get(&mailbox.address).copied().unwrap_or(0);
        if of_user >= self.limits.sockets_per_user || of_address >= self.limits.sockets_per_address
        {
            return Err(NoPlace::TooMany);
        }
        if index.open >= self.limits.max_sockets {
            return Err(NoPlace::Full);
        }
        let mailbox = Arc::new(mailbox);
        index.open += 1;
        *index.addresses.entry(mailbox.address).or_default() += 1;
        index
            .users
            .entry(mailbox.peer.user)
            .or_default()
            .mailboxes
            .push(mailbox.clone());
        Ok(Registration {
            hub: self.clone(),
            mailbox,
        })
    }

    /// Merges a snapshot of the user's conversations with what was pushed since
    /// the socket was registered. A database with another epoch voids all that
    /// other sockets were told; `newcomer` was told nothing yet.
    pub fn merge(&self, user: UserId, newcomer: Option<&Mailbox>, snapshot: &Positions) {
        let mut index = self.index();
        if index
            .epoch
            .as_ref()
            .is_some_and(|known| *known != snapshot.epoch)
        {
            index.forget_everything(newcomer);
        }
        if index.epoch.is_none() {
            index.epoch = Some(snapshot.epoch.clone());
        }
        for standing in &snapshot.positions {
            index.note(standing.conversation_id, &standing.members, standing.seq);
            index.link(user, standing.conversation_id);
        }
    }

    /// Notes a conversation that messages told of.
    pub fn learn(&self, conversation: ConversationId, members: &[UserId], seq: i64) {
        self.index().note(conversation, members, seq);
    }

    /// Whether the user is a member now; nothing when this pod does not know.
    pub fn is_member(&self, conversation: ConversationId, user: UserId) -> Option<bool> {
        self.index()
            .conversations
            .get(&conversation)
            .map(|known| known.members.contains(&user))
    }

    /// Where the user's conversations stand that changed after `since`, and the
    /// version to ask with the next time.
    pub fn positions(&self, user: UserId, since: u64) -> (Vec<Position>, u64) {
        let index = self.index();
        let positions = index
            .users
            .get(&user)
            .into_iter()
            .flat_map(|local| &local.conversations)
            .filter_map(|id| {
                let conversation = index.conversations.get(id)?;
                (conversation.changed > since).then_some(Position {
                    conversation_id: *id,
                    seq: conversation.seq,
                })
            })
            .collect();
        (positions, index.version)
    }

    /// Brings one event of the broker to the sockets of those who may see it.
    pub fn push(&self, event: &Event) {
        let mut index = self.index();
        match event {
            Event::MessageStored { members, entry } => index.stored(members, entry),
            Event::MessageRefused(refused) => {
                index.post(&[refused.sender_id], None, || ServerFrame::Refused {
                    client_id: refused.client_id,
                    conversation_id: refused.conversation_id,
                    code: refused.code,
                    detail: refused.detail.clone(),
                })
            }
            Event::ConversationCreated(created) => {
                let members: Vec<UserId> = created.members.iter().map(|one| one.user_id).collect();
                index.note(created.conversation_id, &members, 0);
                index.post(&members, None, || ServerFrame::ConversationCreated {
                    conversation_id: created.conversation_id,
                    members: created.members.clone(),
                    created_at: created.created_at,
                });
            }
            Event::Typing(typing) => {
                let Some(conversation) = index.conversations.get(&typing.conversation_id) else {
                    return;
                };
                index.post(&conversation.members, Some(typing.user_id), || {
                    ServerFrame::Typing {
                        conversation_id: typing.conversation_id,
                        user_id: typing.user_id,
                        active: typing.active,
                    }
                });
            }
            Event::SessionRevoked(revoked) => index.revoke(revoked.user_id, revoked.session_id),
            // Nothing else is bound to the queue of this service's pods.
            _ => {}
        }
    }

    /// Everybody who has a socket here.
    pub fn users(&self) -> Vec<UserId> {
        self.index().users.keys().copied().collect()
    }

    /// Of the user's sockets that are not about to end, the one whose token lasts
    /// longest; none of those `but`.
    pub fn socket_of(&self, user: UserId, but: &[Uuid]) -> Option<Arc<Mailbox>> {
        let index = self.index();
        let mailboxes = index.users.get(&user)?.mailboxes.iter();
        mailboxes
            .filter(|one| one.ending().is_none() && !but.contains(&one.peer.connection))
            .max_by_key(|one| one.peer.expires_at)
            .cloned()
    }

    /// Ends the sockets of sessions that have ended.
    pub fn end_revoked(&self, is_revoked: impl Fn(SessionId) -> bool) {
        let index = self.index();
        let mailboxes = index.users.values().flat_map(|local| &local.mailboxes);
        for mailbox in mailboxes.filter(|one| is_revoked(one.peer.session)) {
            mailbox.end(End::Revoked);
        }
    }

    /// A socket of whomever.
    pub fn anybody(&self) -> Option<Arc<Mailbox>> {
        let index = self.index();
        let mut sockets = index.users.values().flat_map(|local| &local.mailboxes);
        sockets.next().cloned()
    }

    /// Tells the user's sockets at once where logs have got to: pushes may be missing.
    pub fn beat(&self, user: UserId) {
        let index = self.index();
        let mailboxes = index.users.get(&user).map(|local| &local.mailboxes);
        for mailbox in mailboxes.into_iter().flatten() {
            mailbox.post(Item::Beat);
        }
    }

    /// Takes no more sockets; returns those that are open.
    pub fn stop(&self) -> Vec<Arc<Mailbox>> {
        let mut index = self.index();
        index.stopping = true;
        index
            .users
            .values()
            .flat_map(|local| local.mailboxes.iter().cloned())
            .collect()
    }
}

#[cfg(test)]
mod tests;
