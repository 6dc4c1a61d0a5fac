//! Who is at a chat socket.

use chat_events::{SessionId, UserId};
use chat_kit::identity::Authenticated;
use chat_kit::socket::Peer;
use jiff::Timestamp;
use secrecy::SecretString;
use uuid::Uuid;

pub struct Caller {
    pub connection: Uuid,
    pub user: UserId,
    pub session: SessionId,
    pub expires_at: Timestamp,
    pub token: SecretString,
}

impl From<&Authenticated> for Caller {
    fn from(caller: &Authenticated) -> Self {
        Self {
            connection: Uuid::now_v7(),
            user: caller.user_id(),
            session: caller.session_id(),
            expires_at: caller.expires_at(),
            token: caller.token().clone(),
        }
    }
}

#[cfg(test)]
impl Caller {
    /// Anybody's socket.
    pub fn at_socket(user: UserId) -> super::Mailbox {
        let caller = Self {
            connection: Uuid::now_v7(),
            user,
            session: SessionId::generate(),
            expires_at: Timestamp::now() + chat_events::limits::ACCESS_TOKEN,
            token: "token".into(),
        };
        super::Mailbox::new(caller, std::net::IpAddr::from([192, 0, 2, 1]))
    }
}

impl Peer for Caller {
    fn session(&self) -> Option<(SessionId, Timestamp)> {
        Some((self.session, self.expires_at))
    }
}
