//! `POST /api/notifications/read`

use axum::extract::State;
use axum::http::StatusCode;
use chat_events::{UserId, limits};
use chat_kit::extract::Json;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use serde::Deserialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::state::AppState;
use crate::{inbox, notices};

/// Either `ids` or `all`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// From 1 to 100 notices; those that do not exist are passed over.
    ids: Option<Vec<Uuid>>,
    /// `true`: all of them.
    all: Option<bool>,
}

enum Which {
    All,
    Those(Vec<Uuid>),
}

impl Read {
    fn which(self) -> Result<Which, Problem> {
        match (self.ids, self.all) {
            (None, Some(true)) => Ok(Which::All),
            (Some(ids), None) if (1..=limits::PAGE_MAX as usize).contains(&ids.len()) => {
                Ok(Which::Those(ids))
            }
            (Some(_), None) => Err(Problem::invalid("ids", "must be from 1 to 100 ids")),
            (_, Some(_)) => Err(Problem::invalid("all", "must be true, and without ids")),
            (None, None) => Err(Problem::invalid("ids", "must be given, or all")),
        }
    }
}

/// Marks the caller's notices as read, on all devices.
#[utoipa::path(
    post,
    path = "/api/notifications/read",
    tag = "notices",
    request_body = Read,
    responses(
        (status = 204, description = "They are read."),
        (status = 400, description = "The body is not valid.", body = ProblemBody),
        (status = 401, description = "Not signed in.", body = ProblemBody),
        (status = 403, description = "One is somebody else's, or the request came from another site; nothing is changed.", body = ProblemBody),
        (status = 413, description = "The body is too large.", body = ProblemBody),
        (status = 415, description = "The body is not JSON.", body = ProblemBody),
        (status = 503, description = "The database is away.", body = ProblemBody),
    )
)]
pub async fn read(
    State(state): State<AppState>,
    caller: Authenticated,
    Json(body): Json<Read>,
) -> Result<StatusCode, Problem> {
    let (user, which) = (caller.user_id(), body.which()?);
    let mut transaction = state.database.begin().await?;
    inbox::lock(&mut transaction, [user]).await?;
    if let Which::Those(ids) = &which {
        notices::only_own(&mut transaction, user, ids).await?;
    }
    let marked = mark(&mut transaction, user, &which).await?;
    inbox::settle(&mut transaction, &state.outbox, user, marked).await?;
    transaction.commit().await?;
    state.outbox.wake();
    Ok(StatusCode::NO_CONTENT)
}

async fn mark(transaction: &mut PgConnection, user: UserId, which: &Which) -> sqlx::Result<u64> {
    let ids = match which {
        Which::All => None,
        Which::Those(ids) => Some(ids),
    };
    let marked = sqlx::query(
        "update notices set read_at = now()
         where user_id = $1 and read_at is null and deleted_at is null
           and ($2::uuid[] is null or id = any($2))",
    )
    .bind(user.0)
    .bind(ids)
    .execute(transaction)
    .await?;
    Ok(marked.rows_affected())
}
