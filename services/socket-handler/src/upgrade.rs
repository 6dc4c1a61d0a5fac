//! From a request to a session: everything that can be refused is refused
//! before the upgrade, as HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::response::Response;
use chat_events::{Code, limits};
use chat_kit::extract::ClientAddress;
use chat_kit::identity::Authenticated;
use chat_kit::presence::Presence;
use chat_kit::server::has_origin_of;
use chat_kit::socket::Wheel;
use chat_kit::{Problem, metrics as names};

use crate::hub::{Caller, NoPlace};
use crate::session::Session;
use crate::state::AppState;

/// The default of tungstenite is 128 KiB for each socket, also at rest.
const READ_BUFFER: usize = 1024;
/// Frames that are written together leave together.
const WRITE_BUFFER: usize = 8 * 1024;
/// More than the largest frame: a `hello` that names all conversations.
const WRITE_BUFFER_MAX: usize = 2 * 1024 * 1024;

/// A request that may become a session: signed in, from one of our own pages,
/// and a WebSocket.
pub struct Upgrade {
    pub caller: Authenticated,
    address: IpAddr,
    upgrade: WebSocketUpgrade,
}

impl FromRequestParts<AppState> for Upgrade {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let caller =
            <Authenticated as OptionalFromRequestParts<_>>::from_request_parts(parts, state)
                .await?
                .ok_or(Code::Unauthenticated)?;
        if !has_origin_of(&parts.headers, &state.origins) {
            return Err(Code::CrossSite.into());
        }
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state)
            .await
            .map_err(|rejection: WebSocketUpgradeRejection| {
                Problem::new(Code::UpgradeRequired, rejection.body_text())
            })?;
        let ClientAddress(address) = ClientAddress::from_request_parts(parts, state).await?;
        Ok(Self {
            caller,
            address,
            upgrade,
        })
    }
}

impl Upgrade {
    /// Opens the session, or says why not.
    pub async fn open(self, state: AppState) -> Result<Response, Problem> {
        // First a place, then the snapshot: what is pushed between waits in the mailbox.
        let hub = &state.sessions.hub;
        let registration = hub
            .register(&self.caller, self.address)
            .map_err(|no_place| match no_place {
                NoPlace::TooMany => Problem::from(Code::TooManySockets),
                NoPlace::Full => Problem::unavailable(anyhow::anyhow!("no socket is free")),
                NoPlace::Stopping => Problem::unavailable(anyhow::anyhow!("stopping")),
            })?;
        // The event of its end may have come just before the place was taken.
        if state.identity.is_revoked(self.caller.session_id()) {
            return Err(Code::Unauthenticated.into());
        }
        let snapshot = state
            .sessions
            .messages
            .positions(self.caller.token())
            .await?;
        let mailbox = registration.mailbox();
        hub.merge(mailbox.peer.user, Some(mailbox), &snapshot);
        let token = state.tasks.token();
        let upgrade = self
            .upgrade
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(WRITE_BUFFER_MAX)
            .max_message_size(limits::FRAME)
            .max_frame_size(limits::FRAME);
        Ok(upgrade.on_upgrade(async move |socket| {
            let session = Session::new(socket, registration, state.sessions.clone());
            let work = serve(session, snapshot.epoch, state.wheel, state.presence);
            // A task of its own: this one has room for the upgrade for as long as it lasts.
            state.tasks.spawn(work);
            drop(token);
        }))
    }
}

async fn serve(
    session: Box<Session<WebSocket>>,
    epoch: String,
    wheel: Arc<Wheel<Caller>>,
    presence: Arc<Presence>,
) {
    let mailbox = session.mailbox().clone();
    wheel.add(&mailbox);
    drop(wheel);
    let open = metrics::gauge!(names::SOCKETS, "kind" => "chat");
    open.increment(1.0);
    // Redis may be slow or away: hello does not wait for it.
    let opened = Box::pin(presence.opened(mailbox.peer.user));
    let (end, ()) = tokio::join!(session.run(epoch), opened);
    Box::pin(presence.closed(mailbox.peer.user)).await;
    open.decrement(1.0);
    metrics::counter!(names::SOCKETS_CLOSED, "code" => end.label()).increment(1);
    tracing::debug!(
        socket.connection = %mailbox.peer.connection,
        user.id = %mailbox.peer.user,
        reason = end.reason(),
        "socket closed"
    );
}

#[cfg(test)]
mod tests {
    use super::serve;

    /// What the task of an `async fn` takes, in bytes.
    fn size<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_socket_at_rest_is_a_small_task() {
        let size = size(serve);
        assert!(size <= 2_048, "{size} bytes");
    }
}
