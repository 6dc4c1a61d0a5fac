//! `DELETE /api/notifications/{id}`

use axum::extract::State;
use axum::http::StatusCode;
use chat_kit::extract::Path;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use uuid::Uuid;

use crate::state::AppState;
use crate::{inbox, notices};

/// Deletes one of the caller's notices; again is fine.
#[utoipa::path(
    delete,
    path = "/api/notifications/{id}",
    tag = "notices",
    params(("id" = Uuid, Path, description = "The notice.")),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 400, description = "The id is not a UUID.", body = ProblemBody),
        (status = 401, description = "Not signed in.", body = ProblemBody),
        (status = 403, description = "It is somebody else's, or the request came from another site.", body = ProblemBody),
        (status = 404, description = "There is no such notice.", body = ProblemBody),
        (status = 503, description = "The database is away.", body = ProblemBody),
    )
)]
pub async fn delete(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    let user = caller.user_id();
    let mut transaction = state.database.begin().await?;
    let own = notices::own(&mut transaction, user, &[id]).await?;
    if own.is_empty() {
        return Err(Problem::not_found());
    }
    if notices::delete_all(&mut transaction, user, &own).await? {
        inbox::settle(&mut transaction, &state.outbox, user).await?;
    }
    transaction.commit().await?;
    state.outbox.wake();
    Ok(StatusCode::NO_CONTENT)
}
