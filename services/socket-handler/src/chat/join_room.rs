//! `/ws/chat/joinRoom/{id}`: a conversation by the path of the earlier system.
//! One socket serves all conversations, so `GET` only checks the room before it
//! opens the socket; `POST` answers with the room and opens none.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chat_events::ConversationId;
use chat_kit::extract::Path;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};

use super::room::Room;
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
pub async fn open_in_room(
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

/// Join a conversation.
///
/// Members only; who is a member is decided when the conversation is made.
#[utoipa::path(
    post,
    path = "/ws/chat/joinRoom/{id}",
    tag = "chat",
    params(("id" = uuid::Uuid, Path, description = "The conversation")),
    responses(
        (status = 200, description = "The conversation", body = Room),
        (status = 400, description = "The id is not a UUID", body = ProblemBody),
        (status = 401, description = "No session, or one that has ended", body = ProblemBody),
        (status = 403, description = "The request came from another site", body = ProblemBody),
        (status = 404, description = "No conversation of the caller", body = ProblemBody),
        (status = 503, description = "The messages service does not answer", body = ProblemBody),
    )
)]
pub async fn join_room(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(id): Path<ConversationId>,
) -> Result<Json<Room>, Problem> {
    let messages = &state.sessions.messages;
    let conversation = messages.conversation(caller.token(), id).await?;
    Ok(Json(Room::seen_by(&caller, &conversation)))
}
