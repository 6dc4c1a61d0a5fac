use axum::Json;
use axum::extract::State;
use chat_events::{ConversationId, LogEvent, limits};
use chat_kit::extract::Query;
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use jiff_sqlx::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::MessageRow;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    #[param(value_type = Uuid)]
    conversation: ConversationId,
    /// The newest entry that the caller has; 0 for the whole log.
    after: i64,
    /// From 1 to 500; 500 when not given.
    limit: Option<u32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LogPage {
    /// In order and without a gap.
    events: Vec<LogEvent>,
    /// Otherwise ask again after the last one.
    complete: bool,
    /// The newest entry of the log. If it is before `after`, the caller knows
    /// another database, and has to start anew.
    seq: i64,
}

#[derive(sqlx::FromRow)]
struct EntryRow {
    last_seq: i64,
    #[sqlx(flatten)]
    message: MessageRow,
    user_id: Option<Uuid>,
    up_to: Option<i64>,
    at: Option<Timestamp>,
}

/// What happened in a conversation after an entry of its log: messages and reads.
#[utoipa::path(
    get,
    path = "/api/messages/events",
    tag = "messages",
    params(EventsQuery),
    responses(
        (status = 200, body = LogPage),
        (status = 400, description = "A bad parameter.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No session.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such conversation of the caller.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn events(
    State(pool): State<PgPool>,
    caller: Authenticated,
    Query(query): Query<EventsQuery>,
) -> Result<Json<LogPage>, Problem> {
    let limit = query.limit.unwrap_or(limits::RESUME_PAGE);
    if !(1..=limits::RESUME_PAGE).contains(&limit) {
        return Err(Problem::invalid("limit", "must be from 1 to 500"));
    }
    if query.after < 0 {
        return Err(Problem::invalid("after", "must not be negative"));
    }
    let rows: Vec<EntryRow> = sqlx::query_as(
        "select c.last_seq, entry.*
         from members me
         join conversations c on c.id = me.conversation_id
         left join lateral (
             select *, sum($5 + coalesce(octet_length(content), 0)) over (order by seq) as bytes
             from (
                 (select seq, id, sender_id, client_id, content, created_at,
                     null::uuid as user_id, null::bigint as up_to, null::timestamptz as at
                  from messages where conversation_id = c.id and seq > $3 order by seq limit $4)
                 union all
                 (select seq, null, null, null, null, null, user_id, up_to, at
                  from reads where conversation_id = c.id and seq > $3 order by seq limit $4)
                 order by seq limit $4
             ) entry
         -- The log has no holes, so this is the first one; there is always progress.
         ) entry on bytes <= $6 or seq - 1 = $3
         where me.user_id = $1 and me.conversation_id = $2
         order by entry.seq",
    )
    .bind(caller.user_id().0)
    .bind(query.conversation.0)
    .bind(query.after)
    .bind(i64::from(limit))
    .bind(limits::AROUND_TEXT as i64)
    .bind(limits::RESUME as i64)
    .fetch_all(&pool)
    .await?;
    let seq = rows.first().ok_or_else(Problem::not_found)?.last_seq;
    let events: Vec<LogEvent> = rows
        .into_iter()
        .filter_map(|row| row.into_event(query.conversation))
        .collect();
    let complete = events.last().map_or(query.after, LogEvent::seq) >= seq;
    Ok(Json(LogPage {
        events,
        complete,
        seq,
    }))
}

impl EntryRow {
    fn into_event(self, conversation_id: ConversationId) -> Option<LogEvent> {
        let seq = self.message.seq?;
        if let Some(message) = self.message.into_view(conversation_id) {
            return Some(LogEvent::Message {
                conversation_id,
                seq,
                message,
            });
        }
        Some(LogEvent::Read {
            conversation_id,
            seq,
            user_id: self.user_id?.into(),
            up_to: self.up_to?,
            at: self.at?.to_jiff(),
        })
    }
}
