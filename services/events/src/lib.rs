//! What the services say to each other and to the client: events, socket
//! frames, names on the broker, rights in the stores, public routes, limits and
//! error codes.
//! Types and constants only; nothing here does I/O.

mod code;
mod event;
mod frame;
mod id;
pub mod limits;
pub mod rights;
pub mod routes;
pub mod text;
pub mod topology;
pub mod web;

pub use code::Code;
pub use event::{
    ConversationCreated, Envelope, Event, LogEvent, Member, MessageSent, MessageView,
    NoticeCreated, NoticeFor, NoticeView, Noticed, ReadRequested, Recorded, SendRefused,
    SessionRevoked, Typing, UserRef, UserSeen,
};
pub use frame::{ClientFrame, NotificationFrame, Position, PublicUser, ServerFrame, close};
pub use id::{ClientId, ConversationId, MessageId, SessionId, UserId};

/// The five services, in the order in which they are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    Auth,
    Users,
    Messages,
    Notifications,
    SocketHandler,
}

impl Service {
    pub const ALL: [Self; 5] = [
        Self::Auth,
        Self::Users,
        Self::Messages,
        Self::Notifications,
        Self::SocketHandler,
    ];

    /// The name of the binary, of the folder below `services/` and of the
    /// `{service}` part of `/api/{service}/openapi.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Users => "users",
            Self::Messages => "messages",
            Self::Notifications => "notifications",
            Self::SocketHandler => "socket-handler",
        }
    }

    /// Whether the service owns a database.
    pub const fn has_database(self) -> bool {
        !matches!(self, Self::SocketHandler)
    }
}
