//! `GET /ws/chat`: the chat socket.

use axum::extract::State;
use axum::response::Response;
use chat_kit::{Problem, ProblemBody};

use crate::state::AppState;
use crate::upgrade::Upgrade;

/// Open the chat socket.
///
/// Text frames of JSON with a `type`, in both directions; their schema is
/// `ClientFrame` and `ServerFrame` in `services/events/schema.json`. The server
/// speaks first, with `hello`.
///
/// Close codes: 1001 server stopping, 1008 too many frames, 1009 frame over
/// 16 KiB, 4001 token expired (refresh, then reconnect), 4003 session ended
/// (sign in), 4008 reader too slow, 4009 events lost (both: reconnect and
/// resume).
#[utoipa::path(
    get,
    path = "/ws/chat",
    tag = "chat",
    responses(
        (status = 101, description = "The connection is a WebSocket now"),
        (status = 401, description = "No session, or one that has ended", body = ProblemBody),
        (status = 403, description = "The Origin is missing or not ours", body = ProblemBody),
        (status = 426, description = "Not a WebSocket request", body = ProblemBody),
        (status = 429, description = "Too many open sockets of the user or the address", body = ProblemBody),
        (status = 503, description = "The messages service does not answer, or the pod stops", body = ProblemBody),
    )
)]
pub async fn connect(State(state): State<AppState>, upgrade: Upgrade) -> Result<Response, Problem> {
    upgrade.open(state).await
}
