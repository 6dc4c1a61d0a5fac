//! `GET /api/notifications`

use axum::Json;
use axum::extract::State;
use chat_events::{Code, NoticeView, limits};
use chat_kit::extract::Query;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::state::AppState;
use crate::{inbox, notices};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Notices on the page, from 1 to 100; 20 by default.
    limit: Option<u32>,
    /// Only those that are not read.
    #[serde(default)]
    unread: bool,
}

#[derive(Serialize, ToSchema)]
pub struct Notices {
    /// The newest first.
    notices: Vec<NoticeView>,
    /// How many notices are not read, on all pages.
    unread: i64,
    next_cursor: Option<String>,
}

/// The caller's notices. Looking at them changes nothing.
#[utoipa::path(
    get,
    path = "/api/notifications",
    tag = "notices",
    params(Page),
    responses(
        (status = 200, body = Notices),
        (status = 400, description = "A parameter is not valid.", body = ProblemBody),
        (status = 401, description = "Not signed in.", body = ProblemBody),
        (status = 503, description = "The database is away.", body = ProblemBody),
    )
)]
pub async fn list(
    State(state): State<AppState>,
    caller: Authenticated,
    Query(page): Query<Page>,
) -> Result<Json<Notices>, Problem> {
    let limit = page.limit.unwrap_or(limits::NOTICES_PAGE);
    if !(1..=limits::PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", "must be from 1 to 100"));
    }
    let before = page
        .cursor
        .map(|cursor| Uuid::try_parse(&cursor))
        .transpose()
        .map_err(|_| Problem::from(Code::InvalidCursor))?;
    let user = caller.user_id();
    // The list and the count are of one moment.
    let mut snapshot = inbox::snapshot(&state.database).await?;
    // One more tells whether there is a next page.
    let mut notices = notices::page(
        &mut snapshot,
        user,
        page.unread,
        before,
        i64::from(limit) + 1,
    )
    .await?;
    let more = notices.len() > limit as usize;
    notices.truncate(limit as usize);
    let last = notices.last().filter(|_| more);
    let next_cursor = last.map(|notice| notice.id.to_string());
    Ok(Json(Notices {
        unread: inbox::unread(&mut snapshot, user).await?,
        next_cursor,
        notices,
    }))
}
