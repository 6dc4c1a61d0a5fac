//! GET /api/auth/currentuser: who the caller is.

use axum::Json;
use axum::extract::State;
use chat_events::Code;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use serde::Serialize;
use utoipa::ToSchema;

use crate::session::{Account, SessionInfo};
use crate::state::App;

#[derive(Serialize, ToSchema)]
pub struct CurrentUser {
    user: Account,
    session: SessionInfo,
}

/// Who the caller is
#[utoipa::path(
    get,
    path = "/api/auth/currentuser",
    tag = "accounts",
    responses(
        (status = 200, description = "The caller's account and session", body = CurrentUser),
        (status = 401, description = "`unauthenticated`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn current_user(
    State(app): State<App>,
    caller: Authenticated,
) -> Result<Json<CurrentUser>, Problem> {
    // Asked of the database, and not of the list of ended sessions: auth knows first.
    let row: Option<(String, String, String)> = sqlx::query_as(
        "select username, display_name, email from accounts join sessions on account_id = accounts.id
         where accounts.id = $1 and sessions.id = $2 and ended_at is null",
    )
    .bind(caller.user_id().0)
    .bind(caller.session_id().0)
    .fetch_optional(&app.pool)
    .await?;
    let (username, display_name, email) = row.ok_or(Code::Unauthenticated)?;
    Ok(Json(CurrentUser {
        user: Account {
            id: caller.user_id(),
            username,
            display_name,
            email,
        },
        session: SessionInfo {
            id: caller.session_id(),
            expires_at: caller.expires_at(),
        },
    }))
}
