//! `/api/notifications`: a user's own notices.

pub mod delete;
pub mod list;
pub mod read;

use chat_events::{Code, ConversationId, MessageId, NoticeView, UserId};
use chat_kit::Problem;
use jiff_sqlx::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

/// A notice with the name of its sender.
#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    conversation_id: Uuid,
    message_id: Uuid,
    seq: i64,
    sender_id: Uuid,
    sender_username: String,
    preview: String,
    created_at: Timestamp,
    read_at: Option<Timestamp>,
}

impl From<Row> for NoticeView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            conversation_id: ConversationId(row.conversation_id),
            message_id: MessageId(row.message_id),
            seq: row.seq,
            sender_id: UserId(row.sender_id),
            sender_username: row.sender_username,
            preview: row.preview,
            created_at: row.created_at.to_jiff(),
            read_at: row.read_at.map(Timestamp::to_jiff),
        }
    }
}

/// A page of the user's notices, newest first, below the id `before`.
pub async fn page(
    connection: &mut PgConnection,
    user: UserId,
    unread_only: bool,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<NoticeView>> {
    // Two statements, because each has its own index: the newest of each audience, or
    // what stands above each mark.
    let statement = if unread_only {
        // Materialized, or the newest notices of everybody are searched for the user's.
        "with unread as materialized (
             select n.id, a.conversation_id, n.message_id, n.seq, n.sender_id, n.preview,
                    n.created_at
             from audiences a
             cross join lateral (
                 select coalesce((
                     select m.up_to from read_marks m
                     where m.conversation_id = a.conversation_id and m.user_id = a.user_id
                 ), 0) as up_to
             ) mark
             join message_notices n on n.audience = a.audience and n.seq > mark.up_to
             where a.user_id = $1 and n.sender_id <> $1 and n.id < $2
               and not exists (
                   select from exceptions e
                   where e.user_id = $1 and e.audience = n.audience and e.seq = n.seq
                     and e.message_id = n.message_id
               )
         )
         select unread.*, coalesce(people.username, '') as sender_username,
                null::timestamptz as read_at
         from unread left join people on people.user_id = unread.sender_id
         order by unread.id desc limit $3"
    } else {
        "select n.id, a.conversation_id, n.message_id, n.seq, n.sender_id,
                coalesce(people.username, '') as sender_username, n.preview, n.created_at,
                coalesce(n.excepted_at, case when mark.up_to >= n.seq then mark.read_at end) as read_at
         from audiences a
         left join read_marks mark
             on mark.conversation_id = a.conversation_id and mark.user_id = a.user_id
         cross join lateral (
             select newest.*, e.read_at as excepted_at
             from message_notices newest
             left join exceptions e
                 on e.user_id = $1 and e.audience = newest.audience and e.seq = newest.seq
                    and e.message_id = newest.message_id
             where newest.audience = a.audience and newest.sender_id <> $1
               and newest.id < $2 and e.deleted_at is null
             order by newest.id desc limit $3
         ) n
         left join people on people.user_id = n.sender_id
         where a.user_id = $1
         order by n.id desc limit $3"
    };
    let rows: Vec<Row> = sqlx::query_as(statement)
        .bind(user.0)
        .bind(before.unwrap_or(Uuid::max()))
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(NoticeView::from).collect())
}

/// Those of the notices that exist. 403 when the user is no receiver of one of them.
pub async fn own(
    transaction: &mut PgConnection,
    user: UserId,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, Problem> {
    let found: Vec<(Uuid, bool)> = sqlx::query_as(
        "select n.id, n.sender_id <> $2 and exists (
             select from audiences a where a.audience = n.audience and a.user_id = $2
         )
         from message_notices n where n.id = any($1)",
    )
    .bind(ids)
    .bind(user.0)
    .fetch_all(transaction)
    .await?;
    if found.iter().any(|(_, own)| !own) {
        return Err(Code::Forbidden.into());
    }
    Ok(found.into_iter().map(|(id, _)| id).collect())
}

/// Deletes the user's own notices; returns whether that is news.
pub async fn delete_all(
    transaction: &mut PgConnection,
    user: UserId,
    own: &[Uuid],
) -> sqlx::Result<bool> {
    // Whoever deletes a notice last takes its text away, so one after the other.
    sqlx::query("select from message_notices where id = any($1) order by id for update")
        .bind(own)
        .execute(&mut *transaction)
        .await?;
    let deleted = sqlx::query(
        "insert into exceptions as e (user_id, audience, seq, message_id, deleted_at)
         select $2, audience, seq, message_id, now() from message_notices where id = any($1)
         order by audience, seq, message_id
         on conflict on constraint exceptions_key do update set deleted_at = excluded.deleted_at
         where e.deleted_at is null",
    )
    .bind(own)
    .bind(user.0)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "update message_notices n set preview = ''
         where n.id = any($1) and not exists (
             select from audiences a
             where a.audience = n.audience and a.user_id <> n.sender_id and not exists (
                 select from exceptions e
                 where e.user_id = a.user_id and e.audience = n.audience and e.seq = n.seq
                   and e.message_id = n.message_id and e.deleted_at is not null
             )
         )",
    )
    .bind(own)
    .execute(transaction)
    .await?;
    Ok(deleted.rows_affected() > 0)
}
