use std::time::Duration;

use axum::Json;
use axum::extract::State;
use chat_events::{ConversationId, MessageView, UserId, limits};
use chat_kit::cache::{Cache, Flights};
use chat_kit::extract::Query;
use chat_kit::identity::Authenticated;
use chat_kit::planted::{self, Bug};
use chat_kit::{Problem, ProblemBody};
use jiff_sqlx::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::types::Json as Column;
use utoipa::{IntoParams, ToSchema};

use super::MessageRow;

/// A page under a key that has moved on is never asked for again.
const KEPT: Duration = Duration::from_secs(600);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    #[param(value_type = Uuid)]
    conversation: ConversationId,
    /// The newest messages before this place in the log.
    before: Option<i64>,
    /// The oldest messages after this place in the log.
    after: Option<i64>,
    /// Messages on both sides of this place in the log.
    around: Option<i64>,
    /// From 1 to 100; 20 when not given.
    limit: Option<u32>,
}

/// Messages in the order of the log. Without a place, the newest.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessagePage {
    messages: Vec<MessageView>,
    /// How far each member has read.
    reads: Vec<ReadMark>,
    /// The newest entry of the log when the page was read.
    seq: i64,
    has_before: bool,
    has_after: bool,
    /// For `before`: the page before this one.
    prev_cursor: Option<i64>,
    /// For `after`: the page after this one.
    next_cursor: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadMark {
    user_id: UserId,
    up_to: i64,
}

/// A page of a conversation's messages.
#[utoipa::path(
    get,
    path = "/api/messages",
    tag = "messages",
    params(PageQuery),
    responses(
        (status = 200, body = MessagePage),
        (status = 400, description = "A bad parameter, or more than one place.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No session.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such conversation of the caller.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn page(
    State(pool): State<PgPool>,
    State(cache): State<Cache>,
    State(flights): State<Flights<MessagePage>>,
    caller: Authenticated,
    Query(query): Query<PageQuery>,
) -> Result<Json<MessagePage>, Problem> {
    let slice = Slice::of(&query)?;
    let (user, conversation) = (caller.user_id(), query.conversation);
    let found = if slice.newest {
        newest(&pool, &cache, &flights, user, conversation, &slice).await?
    } else {
        read(&pool, user, conversation, &slice)
            .await?
            .map(|(page, _)| page)
    };
    found.map(Json).ok_or_else(Problem::not_found)
}

/// Up to `before` messages below the place, and up to `after` from it on.
struct Slice {
    place: i64,
    before: i64,
    after: i64,
    /// The end of the log, which is worth keeping.
    newest: bool,
}

impl Slice {
    fn of(query: &PageQuery) -> Result<Self, Problem> {
        let limit = query.limit.unwrap_or(limits::MESSAGES_PAGE);
        if !(1..=limits::PAGE_MAX).contains(&limit) {
            return Err(Problem::invalid("limit", "must be from 1 to 100"));
        }
        let limit = i64::from(limit);
        let (place, before, newest) = match (query.before, query.after, query.around) {
            (None, None, None) => (i64::MAX, limit, true),
            (Some(place), None, None) => (place, limit, false),
            (None, Some(place), None) => (place.saturating_add(1), 0, false),
            (None, None, Some(place)) => (place, limit / 2, false),
            _ => {
                let message = "cannot be combined with another place";
                return Err(Problem::invalid("before", message)
                    .and("after", message)
                    .and("around", message));
            }
        };
        if place < 0 {
            return Err(Problem::invalid("before", "a place must not be negative")
                .and("after", "a place must not be negative")
                .and("around", "a place must not be negative"));
        }
        Ok(Self {
            place,
            before,
            after: limit - before,
            newest,
        })
    }
}

/// What is kept of the newest page. Whether the caller may see it, and the read
/// marks, are never taken from here.
#[derive(Serialize, Deserialize)]
struct Kept {
    messages: Vec<MessageView>,
    has_before: bool,
}

/// The end of the log, from Redis if it is there. The key names the newest
/// entry, so a commit moves it, and an old page cannot be found. It names the
/// time as well, in case a restored database counts from an earlier number.
async fn newest(
    pool: &PgPool,
    cache: &Cache,
    flights: &Flights<MessagePage>,
    user: UserId,
    conversation: ConversationId,
    slice: &Slice,
) -> Result<Option<MessagePage>, Problem> {
    let Some((seq, active_at, Column(reads))) = head(pool, user, conversation).await? else {
        return Ok(None);
    };
    let key = |seq: i64, active_at: Timestamp| {
        let (active_at, limit) = (active_at.to_jiff().as_microsecond(), slice.before);
        format!("newest:{conversation}:{seq}:{active_at}:{limit}")
    };
    if let Some(kept) = cache.get::<Kept>(&key(seq, active_at)).await {
        return Ok(Some(MessagePage::new(
            kept.messages,
            reads,
            seq,
            [kept.has_before, false],
        )));
    }
    // Whoever asks for the same end of the log meanwhile waits for the same page.
    let make = async || {
        let found = read(pool, user, conversation, slice).await?;
        let (page, active_at) = found.ok_or_else(Problem::not_found)?;
        let mut key_of = (page.seq, active_at);
        if planted::bug(Bug::StaleCache)
            && let Some((seq, active_at, _)) = head(pool, user, conversation).await?
        {
            key_of = (seq, active_at);
        }
        let kept = Kept {
            messages: page.messages.clone(),
            has_before: page.has_before,
        };
        cache.set(&key(key_of.0, key_of.1), &kept, KEPT).await;
        Ok::<_, Problem>(page)
    };
    flights.join(&key(seq, active_at), make).await.map(Some)
}

/// Where the log ends, when it last got a message, and how far each member has read.
type Head = (i64, Timestamp, Column<Vec<ReadMark>>);

/// Nothing for a stranger.
async fn head(
    pool: &PgPool,
    user: UserId,
    conversation: ConversationId,
) -> sqlx::Result<Option<Head>> {
    sqlx::query_as(
        "select c.last_seq, c.last_activity_at, (
             select jsonb_agg(jsonb_build_object('user_id', m.user_id, 'up_to', m.read_up_to) order by m.user_id)
             from members m where m.conversation_id = c.id
         )
         from members me join conversations c on c.id = me.conversation_id
         where me.user_id = $1 and me.conversation_id = $2",
    )
    .bind(user.0)
    .bind(conversation.0)
    .fetch_optional(pool)
    .await
}

/// The first row is the head of the log, and the others are messages.
#[derive(sqlx::FromRow)]
struct PageRow {
    last_seq: Option<i64>,
    last_activity_at: Option<Timestamp>,
    reads: Option<Column<Vec<ReadMark>>>,
    #[sqlx(flatten)]
    message: MessageRow,
}

/// Membership and page in one statement, so of one moment. One message too many on each
/// side says whether there is more.
async fn read(
    pool: &PgPool,
    user: UserId,
    conversation: ConversationId,
    slice: &Slice,
) -> sqlx::Result<Option<(MessagePage, Timestamp)>> {
    let rows: Vec<PageRow> = sqlx::query_as(
        "with head as materialized (
             select c.id, c.last_seq, c.last_activity_at, (
                 select jsonb_agg(jsonb_build_object('user_id', m.user_id, 'up_to', m.read_up_to) order by m.user_id)
                 from members m where m.conversation_id = c.id
             ) as reads
             from members me join conversations c on c.id = me.conversation_id
             where me.user_id = $1 and me.conversation_id = $2
         )
         select last_seq, last_activity_at, reads, null::bigint as seq, null::uuid as id,
             null::uuid as sender_id, null::uuid as client_id, null as content, null::timestamptz as created_at
         from head
         union all
         -- A join would read and sort all of the log on that side of the place.
         (select null, null, null, m.* from head cross join lateral (
              select seq, id, sender_id, client_id, content, created_at from messages
              where conversation_id = head.id and seq < $3
              order by seq desc limit $4
          ) m)
         union all
         (select null, null, null, m.* from head cross join lateral (
              select seq, id, sender_id, client_id, content, created_at from messages
              where conversation_id = head.id and seq >= $3
              order by seq limit $5
          ) m)",
    )
    .bind(user.0)
    .bind(conversation.0)
    .bind(slice.place)
    .bind(slice.before + 1)
    .bind(slice.after + 1)
    .fetch_all(pool)
    .await?;
    let (mut head, mut messages) = (None, Vec::with_capacity(rows.len()));
    for row in rows {
        head = head.or(row.last_seq.zip(row.last_activity_at).zip(row.reads));
        messages.extend(row.message.into_view(conversation));
    }
    messages.sort_unstable_by_key(|message| message.seq);
    let below = messages.partition_point(|message| message.seq < slice.place);
    let more = [
        below as i64 > slice.before,
        (messages.len() - below) as i64 > slice.after,
    ];
    if more[1] {
        messages.pop();
    }
    if more[0] {
        messages.remove(0);
    }
    Ok(head.map(|((seq, active_at), Column(reads))| {
        (MessagePage::new(messages, reads, seq, more), active_at)
    }))
}

impl MessagePage {
    fn new(
        messages: Vec<MessageView>,
        reads: Vec<ReadMark>,
        seq: i64,
        [has_before, has_after]: [bool; 2],
    ) -> Self {
        let first = messages.first().map(|message| message.seq);
        let last = messages.last().map(|message| message.seq);
        Self {
            prev_cursor: first.filter(|_| has_before),
            next_cursor: last.filter(|_| has_after),
            messages,
            reads,
            seq,
            has_before,
            has_after,
        }
    }
}
