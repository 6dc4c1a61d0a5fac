//! What waits for an open WebSocket, the clock of all of them, and why they end.

use chat_events::{SessionId, limits};
use clap::Args;
use jiff::Timestamp;

mod count;
mod end;
mod mailbox;
mod wheel;

pub use count::{received as count_received, sent as count_sent};
pub use end::End;
pub use mailbox::{Item, Mailbox};
pub use wheel::Wheel;

/// Who is at the other end of a socket.
pub trait Peer {
    /// The session and the end of its token; a guest has none.
    fn session(&self) -> Option<(SessionId, Timestamp)>;
}

/// None is a guest.
impl<P: Peer> Peer for Option<P> {
    fn session(&self) -> Option<(SessionId, Timestamp)> {
        self.as_ref().and_then(Peer::session)
    }
}

#[derive(Clone, Copy, Debug, Args)]
pub struct SocketArgs {
    /// Sockets that one user may have on this pod.
    #[arg(long, env = "SOCKETS_PER_USER", default_value_t = limits::SOCKETS_PER_USER)]
    pub sockets_per_user: usize,
    /// Sockets that one address may have on this pod.
    #[arg(long, env = "SOCKETS_PER_ADDRESS", default_value_t = limits::SOCKETS_PER_ADDRESS)]
    pub sockets_per_address: usize,
    /// Sockets that this pod accepts; more are sent to another one.
    #[arg(long, env = "MAX_SOCKETS", default_value_t = limits::SOCKETS_PER_POD)]
    pub max_sockets: usize,
    /// Seconds between two heartbeats of a socket, at most 25.
    #[arg(
        long,
        env = "HEARTBEAT_SECONDS",
        default_value_t = 20,
        value_parser = clap::value_parser!(u64).range(1..=limits::HEARTBEAT.as_secs())
    )]
    pub heartbeat_seconds: u64,
}
