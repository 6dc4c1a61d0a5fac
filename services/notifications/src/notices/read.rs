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
    let marked = match which {
        Which::All => mark_all(&mut transaction, user).await?,
        Which::Those(ids) => {
            let own = notices::own(&mut transaction, user, &ids).await?;
            mark(&mut transaction, user, &own).await?
        }
    };
    if marked {
        inbox::settle(&mut transaction, &state.outbox, user).await?;
    }
    transaction.commit().await?;
    state.outbox.wake();
    Ok(StatusCode::NO_CONTENT)
}

/// Moves the marks to where the notices end now; returns whether any moved.
async fn mark_all(transaction: &mut PgConnection, user: UserId) -> sqlx::Result<bool> {
    let moved = sqlx::query(
        "insert into read_marks as mark (user_id, conversation_id, up_to)
         select $1, a.conversation_id, max(top.seq)
         from audiences a
         cross join lateral (
             select seq from message_notices n where n.audience = a.audience
             order by seq desc limit 1
         ) top
         where a.user_id = $1
         group by a.conversation_id order by a.conversation_id
         on conflict on constraint read_marks_key do update
         set up_to = excluded.up_to, read_at = excluded.read_at
         where mark.up_to < excluded.up_to",
    )
    .bind(user.0)
    .execute(transaction)
    .await?;
    Ok(moved.rows_affected() > 0)
}

/// Notes the user's own notices as read; returns whether that is news.
async fn mark(transaction: &mut PgConnection, user: UserId, own: &[Uuid]) -> sqlx::Result<bool> {
    let marked = sqlx::query(
        "insert into exceptions (user_id, audience, seq, message_id, read_at)
         select $2, n.audience, n.seq, n.message_id, now()
         from message_notices n
         join audiences a on a.audience = n.audience and a.user_id = $2
         left join read_marks mark
             on mark.conversation_id = a.conversation_id and mark.user_id = $2
         where n.id = any($1) and n.seq > coalesce(mark.up_to, 0)
         order by n.audience, n.seq, n.message_id
         on conflict on constraint exceptions_key do nothing",
    )
    .bind(own)
    .bind(user.0)
    .execute(transaction)
    .await?;
    Ok(marked.rows_affected() > 0)
}
