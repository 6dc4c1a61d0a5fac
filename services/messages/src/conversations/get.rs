use axum::Json;
use axum::extract::State;
use chat_events::{ConversationId, UserId};
use chat_kit::extract::Path;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use sqlx::PgPool;

use super::{Conversation, ConversationRow, select_conversations};

/// One conversation of the caller.
#[utoipa::path(
    get,
    path = "/api/conversations/{id}",
    tag = "conversations",
    params(("id" = uuid::Uuid, Path, description = "The conversation.")),
    responses(
        (status = 200, body = Conversation),
        (status = 400, description = "The id is not a UUID.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No session.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such conversation of the caller.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    State(pool): State<PgPool>,
    caller: Authenticated,
    Path(id): Path<ConversationId>,
) -> Result<Json<Conversation>, Problem> {
    find(&pool, caller.user_id(), id)
        .await?
        .map(Json)
        .ok_or_else(Problem::not_found)
}

/// The conversation, if `user` is a member.
pub async fn find(
    pool: &PgPool,
    user: UserId,
    id: ConversationId,
) -> sqlx::Result<Option<Conversation>> {
    let row: Option<ConversationRow> = sqlx::query_as(select_conversations!(
        "select conversation_id, user_id, read_up_to from members
         where user_id = $1 and conversation_id = $2"
    ))
    .bind(user.0)
    .bind(id.0)
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Conversation::from))
}
