//! `DELETE /ws/notifications/{username}`

use axum::extract::State;
use axum::http::StatusCode;
use chat_events::limits;
use chat_kit::extract::{Json, Path};
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::only_own_name;
use crate::state::AppState;
use crate::{inbox, notices};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deleted {
    /// From 1 to 100; those that do not exist are passed over.
    notifs: Vec<DeletedNotif>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct DeletedNotif {
    #[serde(rename = "ID")]
    id: Uuid,
}

/// Deletes some of the caller's notices.
#[utoipa::path(
    delete,
    path = "/ws/notifications/{username}",
    tag = "earlier",
    operation_id = "earlier_delete",
    params(("username" = String, Path, description = "The caller's own user name.")),
    request_body = Deleted,
    responses(
        (status = 204, description = "They are deleted."),
        (status = 400, description = "The body is not valid.", body = ProblemBody),
        (status = 401, description = "Not signed in.", body = ProblemBody),
        (status = 403, description = "The name or one of the notices is somebody else's, or the request came from another site; nothing is changed.", body = ProblemBody),
        (status = 413, description = "The body is too large.", body = ProblemBody),
        (status = 415, description = "The body is not JSON.", body = ProblemBody),
        (status = 503, description = "The database is away.", body = ProblemBody),
    )
)]
pub async fn delete(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(username): Path<String>,
    Json(body): Json<Deleted>,
) -> Result<StatusCode, Problem> {
    only_own_name(&caller, &username)?;
    let ids: Vec<Uuid> = body.notifs.into_iter().map(|notif| notif.id).collect();
    if !(1..=limits::PAGE_MAX as usize).contains(&ids.len()) {
        return Err(Problem::invalid("notifs", "must be from 1 to 100"));
    }
    let user = caller.user_id();
    let mut transaction = state.database.begin().await?;
    let own = notices::own(&mut transaction, user, &ids).await?;
    if notices::delete_all(&mut transaction, user, &own).await? {
        inbox::settle(&mut transaction, &state.outbox, user).await?;
    }
    transaction.commit().await?;
    state.outbox.wake();
    Ok(StatusCode::NO_CONTENT)
}
