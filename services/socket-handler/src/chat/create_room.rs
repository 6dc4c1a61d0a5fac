//! `POST /ws/chat/createRoom`: a conversation by the path and the shape of the
//! earlier system. `POST /api/conversations` of messages is the way of today.

use axum::Json as Answer;
use axum::extract::State;
use chat_events::{UserId, text};
use chat_kit::extract::Json;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use serde::Deserialize;
use utoipa::ToSchema;

use super::room::Room;
use crate::state::AppState;

/// Whom to talk to: `user_id`, or else `name`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRoom {
    /// Of the earlier system, where the client chose it. Not used.
    #[serde(default, rename = "id")]
    _id: Option<String>,
    /// The peer's user name, or the peer's id.
    name: Option<String>,
    user_id: Option<UserId>,
}

/// Open the conversation with a user.
///
/// There is one conversation for each pair: a second call answers the same.
#[utoipa::path(
    post,
    path = "/ws/chat/createRoom",
    tag = "chat",
    request_body = CreateRoom,
    responses(
        (status = 200, description = "The conversation", body = Room),
        (status = 400, description = "Not JSON of this form, or no peer named", body = ProblemBody),
        (status = 401, description = "No session, or one that has ended", body = ProblemBody),
        (status = 403, description = "The request came from another site", body = ProblemBody),
        (status = 404, description = "No such user", body = ProblemBody),
        (status = 413, description = "The body is too large", body = ProblemBody),
        (status = 415, description = "The body is not JSON", body = ProblemBody),
        (status = 503, description = "The users or messages service does not answer", body = ProblemBody),
    )
)]
pub async fn create_room(
    State(state): State<AppState>,
    caller: Authenticated,
    Json(body): Json<CreateRoom>,
) -> Result<Answer<Room>, Problem> {
    let token = caller.token();
    let peer = match (body.user_id, body.name) {
        (Some(id), _) => id,
        (None, Some(name)) if !name.is_empty() && text::is_line(&name) => match name.parse() {
            Ok(id) => id,
            Err(_) => state.users.by_name(token, &name).await?,
        },
        (None, Some(_)) => return Err(Problem::invalid("name", "is not the name of a user")),
        (None, None) => return Err(Problem::invalid("name", "is missing")),
    };
    if peer == caller.user_id() {
        return Err(Problem::invalid("name", "must be somebody else"));
    }
    let conversation = state.sessions.messages.open(token, peer).await?;
    Ok(Answer(Room::seen_by(&caller, &conversation)))
}
