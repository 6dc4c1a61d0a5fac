//! The members to whom a message was told, as one id.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use chat_events::{ConversationId, UserId};
use uuid::Uuid;

/// Audiences of which a pod remembers that they are written.
const REMEMBERED: usize = 20_000;

/// The id of a set of members of a conversation: the same whenever and wherever it is
/// made, and by the database's `audience_of` as well.
pub fn id(conversation: ConversationId, members: &[UserId]) -> Uuid {
    let mut members: Vec<UserId> = members.to_vec();
    members.sort_unstable();
    members.dedup();
    let mut hash = Context::new(&SHA256);
    hash.update(conversation.0.as_bytes());
    for member in members {
        hash.update(member.0.as_bytes());
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finish().as_ref()[..16]);
    Uuid::from_bytes(half)
}

/// Which audiences are in the database for certain; a bounded number of them.
#[derive(Default)]
pub struct Written(Mutex<HashSet<Uuid>>);

impl Written {
    fn ids(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn has(&self, audience: Uuid) -> bool {
        self.ids().contains(&audience)
    }

    /// Only after the commit.
    pub fn note(&self, audiences: impl IntoIterator<Item = Uuid>) {
        let mut ids = self.ids();
        for audience in audiences {
            if ids.len() >= REMEMBERED {
                ids.clear();
            }
            ids.insert(audience);
        }
    }
}

#[cfg(test)]
mod tests {
    use chat_events::{ConversationId, UserId};
    use uuid::Uuid;

    use super::{REMEMBERED, Written, id};

    #[test]
    fn an_audience_is_its_conversation_and_its_members_in_any_order() {
        let [here, there] = [1, 2].map(|id| ConversationId(Uuid::from_u128(id)));
        let [ann, ben, eve] = [1, 2, 3].map(|id| UserId(Uuid::from_u128(id)));
        assert_eq!(id(here, &[ann, ben]), id(here, &[ben, ann, ben]));
        assert_ne!(id(here, &[ann, ben]), id(there, &[ann, ben]));
        assert_ne!(id(here, &[ann, ben]), id(here, &[ann, eve]));
        assert_ne!(id(here, &[ann, ben]), id(here, &[ann, ben, eve]));
    }

    #[test]
    fn a_bounded_number_is_remembered() {
        let written = Written::default();
        let last = Uuid::from_u128(REMEMBERED as u128);
        written.note((0..=REMEMBERED as u128).map(Uuid::from_u128));
        assert!(written.has(last));
        assert!(!written.has(Uuid::from_u128(0)));
    }
}
