//! `GET /ws/notifications/{username}`

use axum::Json;
use axum::extract::State;
use chat_events::{NoticeView, limits};
use chat_kit::extract::Path;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::only_own_name;
use crate::state::AppState;
use crate::{inbox, notices};

#[derive(Serialize, ToSchema)]
pub struct Notifs {
    /// At most 100, the newest first.
    notifs: Vec<Notif>,
}

#[derive(Serialize, ToSchema)]
struct Notif {
    #[serde(rename = "ID")]
    id: Uuid,
    /// User names.
    sender: String,
    receiver: String,
    content: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "createdAt")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[serde(rename = "updatedAt")]
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// The caller's notices in the form of the earlier system.
#[utoipa::path(
    get,
    path = "/ws/notifications/{username}",
    tag = "earlier",
    operation_id = "earlier_list",
    params(("username" = String, Path, description = "The caller's own user name.")),
    responses(
        (status = 200, body = Notifs),
        (status = 401, description = "Not signed in.", body = ProblemBody),
        (status = 403, description = "The name is not the caller's.", body = ProblemBody),
        (status = 503, description = "The database is away.", body = ProblemBody),
    )
)]
pub async fn list(
    State(state): State<AppState>,
    caller: Authenticated,
    Path(username): Path<String>,
) -> Result<Json<Notifs>, Problem> {
    only_own_name(&caller, &username)?;
    let mut snapshot = inbox::snapshot(&state.database).await?;
    let limit = i64::from(limits::PAGE_MAX);
    let page = notices::page(&mut snapshot, caller.user_id(), false, None, limit).await?;
    let notif = |notice: NoticeView| Notif {
        id: notice.id,
        content: format!("Message received from {}", notice.sender_username),
        sender: notice.sender_username,
        receiver: username.clone(),
        kind: "user.sent.message",
        created_at: notice.created_at,
        updated_at: notice.read_at.unwrap_or(notice.created_at),
    };
    Ok(Json(Notifs {
        notifs: page.into_iter().map(notif).collect(),
    }))
}
