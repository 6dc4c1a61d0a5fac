//! `GET /ws/chat/joinRoom/{id}`: the chat socket under its path of the earlier
//! system. One socket serves all conversations, so the room is only checked.

use axum::extract::State;
use axum::response::Response;
use chat_events::ConversationId;
use chat_kit::extract::Path;
use chat_kit::{Problem, ProblemBody};

use crate::state::AppState;
use crate::upgrade::Upgrade;

/// Open the chat socket as a member of a conversation.
///
/// The same socket as `GET /ws/chat`, refused for a conversation of others.
#[utoipa::path(
    get,
    path = "/ws/chat/joinRoom/{id}",
    tag = "chat",
    params(("id" = uuid::Uuid, Path, description = "The conversation")),
    responses(
        (status = 101, description = "The connection is a WebSocket now"),
        (status = 400, description = "The id is not a UUID", body = ProblemBody),
        (status = 401, description = "No session, or one that has ended", body = ProblemBody),
        (status = 403, description = "The Origin is missing or not ours", body = ProblemBody),
        (status = 404, description = "No conversation of the caller", body = ProblemBody),
        (status = 426, description = "Not a WebSocket request", body = ProblemBody),
        (status = 429, description = "Too many open sockets of the user or the address", body = ProblemBody),
        (status = 503, description = "The messages service does not answer, or the pod stops", body = ProblemBody),
    )
)]
pub async fn join_room(
    State(state): State<AppState>,
    upgrade: Upgrade,
    Path(id): Path<ConversationId>,
) -> Result<Response, Problem> {
    state
        .sessions
        .messages
        .conversation(upgrade.caller.token(), id)
        .await?;
    upgrade.open(state).await
}
