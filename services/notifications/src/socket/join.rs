//! `GET /ws/notifications/join`: opens the socket, for guests as well.

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::HeaderMap;
use axum::response::Response;
use chat_events::{Code, NotificationFrame, limits};
use chat_kit::extract::ClientAddress;
use chat_kit::identity::Authenticated;
use chat_kit::server::has_origin_of;
use chat_kit::{Problem, ProblemBody};
use sqlx::PgPool;

use super::hub::Mailbox;
use super::member::Member;
use super::session::Session;
use crate::state::AppState;
use crate::{inbox, people};

/// An idle socket keeps this much memory for reading …
const READ_BUFFER: usize = 2 * 1024;
/// … and frames up to this size are collected before they are written.
const WRITE_BUFFER: usize = 8 * 1024;

/// Opens the notification socket. Text frames with a JSON object and a `type`:
/// `hello` first, then `user.online` and `user.offline` for everybody,
/// `user.updated` for everybody who is signed in, those of 250 ms together, `notice` and `unread` for
/// the signed-in user alone, `heartbeat` and `going_away`. The client has
/// nothing to say. Without a session the caller is a guest.
#[utoipa::path(
    get,
    path = "/ws/notifications/join",
    tag = "socket",
    responses(
        (status = 101, description = "The socket is open."),
        (status = 401, description = "The session has ended.", body = ProblemBody),
        (status = 403, description = "The Origin is not one of ours.", body = ProblemBody),
        (status = 426, description = "Not a WebSocket request.", body = ProblemBody),
        (status = 429, description = "Too many open sockets.", body = ProblemBody),
        (status = 503, description = "The database is away.", body = ProblemBody),
    )
)]
pub async fn join(
    State(state): State<AppState>,
    headers: HeaderMap,
    caller: Option<Authenticated>,
    ClientAddress(address): ClientAddress,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|_| Problem::from(Code::UpgradeRequired))?;
    if !has_origin_of(&headers, &state.origins) {
        return Err(Code::CrossSite.into());
    }
    let member = caller.as_ref().map(Member::from);
    // First a seat, then the look at the database: what changes between the
    // two comes as a frame after the hello.
    let seat = state.hub.admit(Mailbox::new(member, address))?;
    // It may have ended between the check of the token and the seat.
    if member.is_some_and(|member| state.identity.is_revoked(member.session)) {
        return Err(Code::Unauthenticated.into());
    }
    let hello = hello(&state.database, member).await?;
    let session = Session::new(seat, state.presence);
    let open = state.sessions.token();
    Ok(upgrade
        .max_message_size(limits::FRAME)
        .max_frame_size(limits::FRAME)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .on_upgrade(async move |socket| {
            session.run(socket, hello).await;
            drop(open);
        }))
}

async fn hello(database: &PgPool, member: Option<Member>) -> sqlx::Result<NotificationFrame> {
    let mut snapshot = inbox::snapshot(database).await?;
    let unread = match member {
        Some(member) => inbox::unread(&mut snapshot, member.user).await?,
        None => 0,
    };
    Ok(NotificationFrame::Hello {
        user_id: member.map(|member| member.user),
        unread,
        online: people::online(&mut snapshot).await?,
    })
}
