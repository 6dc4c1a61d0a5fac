//! GET /internal/revocations: the sessions that ended while access tokens of
//! theirs may still be about. Not routed from outside.

use axum::Json;
use axum::extract::State;
use chat_kit::identity::{Revocation, Revocations};
use chat_kit::{Problem, ProblemBody};
use jiff_sqlx::Timestamp;
use sqlx::PgPool;
use uuid::Uuid;

use crate::keys::REVOKED_FOR;
use crate::state::App;

/// The sessions that ended a short time ago, for the other services
#[utoipa::path(
    get,
    path = "/internal/revocations",
    tag = "internal",
    responses(
        (status = 200, description = "`{revoked: [{session_id, until}]}`", body = Object),
        (status = 503, description = "`unavailable`; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn revocations(State(app): State<App>) -> Result<Json<Revocations>, Problem> {
    Ok(Json(Revocations {
        revoked: list(&app.pool).await?,
    }))
}

pub async fn list(pool: &PgPool) -> sqlx::Result<Vec<Revocation>> {
    let rows: Vec<(Uuid, Timestamp)> = sqlx::query_as(
        "select id, ended_at + make_interval(secs => $1) from sessions
         where ended_at > clock_timestamp() - make_interval(secs => $1)",
    )
    .bind(REVOKED_FOR.as_secs_f64())
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(session, until)| Revocation {
            session_id: session.into(),
            until: until.to_jiff(),
        })
        .collect())
}
