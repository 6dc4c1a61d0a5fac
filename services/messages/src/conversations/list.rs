#[cfg(test)]
mod fuzz;

use axum::Json;
use axum::extract::State;
use chat_events::{Code, limits};
use chat_kit::extract::Query;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{Conversation, ConversationRow, select_conversations};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// From 1 to 100; 20 when not given.
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationPage {
    conversations: Vec<Conversation>,
    /// Nothing on the last page.
    next_cursor: Option<String>,
}

/// The caller's conversations, those with the newest activity first.
#[utoipa::path(
    get,
    path = "/api/conversations",
    tag = "conversations",
    params(ListQuery),
    responses(
        (status = 200, body = ConversationPage),
        (status = 400, description = "A bad cursor or limit.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No session.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(pool): State<PgPool>,
    caller: Authenticated,
    Query(query): Query<ListQuery>,
) -> Result<Json<ConversationPage>, Problem> {
    let limit = query.limit.unwrap_or(limits::CONVERSATIONS_PAGE);
    if !(1..=limits::PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", "must be from 1 to 100"));
    }
    let after = query
        .cursor
        .map(|cursor| Cursor::parse(&cursor).ok_or(Code::InvalidCursor))
        .transpose()?;
    let rows: Vec<ConversationRow> = sqlx::query_as(select_conversations!(
        "select m.conversation_id, m.user_id, m.read_up_to
         from members m join conversations c on c.id = m.conversation_id
         where m.user_id = $1
             and ($2::timestamptz is null or (c.last_activity_at, c.id) < ($2, $3))
         order by c.last_activity_at desc, c.id desc limit $4"
    ))
    .bind(caller.user_id().0)
    .bind(after.as_ref().map(|cursor| cursor.at.to_sqlx()))
    .bind(after.as_ref().map(|cursor| cursor.id))
    .bind(i64::from(limit) + 1)
    .fetch_all(&pool)
    .await?;
    let mut conversations: Vec<Conversation> = rows.into_iter().map(Conversation::from).collect();
    // The one too many says that there is a next page.
    let more = conversations.len() > limit as usize;
    conversations.truncate(limit as usize);
    let next_cursor = conversations.last().filter(|_| more).map(|last| {
        let cursor = Cursor {
            at: last.last_activity_at,
            id: last.id.0,
        };
        cursor.to_string()
    });
    Ok(Json(ConversationPage {
        conversations,
        next_cursor,
    }))
}

/// The place of a conversation in the list.
struct Cursor {
    at: Timestamp,
    id: Uuid,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('_')?;
        let at = Timestamp::from_microsecond(at.parse().ok()?).ok()?;
        // The database has no time as early as a cursor may say.
        (at >= Timestamp::UNIX_EPOCH).then_some(())?;
        Some(Self {
            at,
            id: id.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}", self.at.as_microsecond(), self.id.simple())
    }
}
