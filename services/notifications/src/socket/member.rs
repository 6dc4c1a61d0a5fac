//! Who is at a notification socket.

use chat_events::{SessionId, UserId};
use chat_kit::identity::Authenticated;
use chat_kit::socket::Peer;
use jiff::Timestamp;

#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub user: UserId,
    pub session: SessionId,
    pub expires_at: Timestamp,
}

impl From<&Authenticated> for Member {
    fn from(caller: &Authenticated) -> Self {
        Self {
            user: caller.user_id(),
            session: caller.session_id(),
            expires_at: caller.expires_at(),
        }
    }
}

impl Peer for Member {
    fn session(&self) -> Option<(SessionId, Timestamp)> {
        Some((self.session, self.expires_at))
    }
}
