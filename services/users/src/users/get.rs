//! `GET /api/users/{id}`

use axum::Json;
use axum::extract::State;
use chat_events::UserId;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody, extract};
use sqlx::{AssertSqlSafe, PgPool};

use super::{COLUMNS, Row, User};

/// One user.
#[utoipa::path(
    get,
    path = "/api/users/{id}",
    tag = "users",
    params(("id" = UserId, Path, description = "The user's id")),
    responses(
        (status = 200, description = "The user", body = User),
        (status = 400, description = "`invalid_id`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: nobody has this id", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn get(
    _: Authenticated,
    State(database): State<PgPool>,
    extract::Path(id): extract::Path<UserId>,
) -> Result<Json<User>, Problem> {
    let select = format!("select {COLUMNS} from users where id = $1");
    let row: Option<Row> = sqlx::query_as(AssertSqlSafe(select))
        .bind(id.0)
        .fetch_optional(&database)
        .await?;
    row.map(|row| Json(row.into()))
        .ok_or_else(Problem::not_found)
}
