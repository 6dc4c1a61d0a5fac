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
pub struct Row {
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
    // Two statements, because each has its own index.
    let statement = if unread_only {
        "select notices.id, conversation_id, message_id, seq, sender_id,
                coalesce(people.username, '') as sender_username, preview, created_at, read_at
         from notices left join people on people.user_id = sender_id
         where notices.user_id = $1 and notices.deleted_at is null and read_at is null
           and ($2::uuid is null or notices.id < $2)
         order by notices.id desc limit $3"
    } else {
        "select notices.id, conversation_id, message_id, seq, sender_id,
                coalesce(people.username, '') as sender_username, preview, created_at, read_at
         from notices left join people on people.user_id = sender_id
         where notices.user_id = $1 and notices.deleted_at is null
           and ($2::uuid is null or notices.id < $2)
         order by notices.id desc limit $3"
    };
    let rows: Vec<Row> = sqlx::query_as(statement)
        .bind(user.0)
        .bind(before)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(NoticeView::from).collect())
}

/// 403 when one of the notices is somebody else's; unknown ones pass.
pub async fn only_own(
    transaction: &mut PgConnection,
    user: UserId,
    ids: &[Uuid],
) -> Result<(), Problem> {
    let foreign: bool = sqlx::query_scalar(
        "select exists (select from notices where id = any($1) and user_id <> $2)",
    )
    .bind(ids)
    .bind(user.0)
    .fetch_one(transaction)
    .await?;
    if foreign {
        return Err(Code::Forbidden.into());
    }
    Ok(())
}

/// Deletes the user's notices among `ids`; returns how many of them were unread.
pub async fn delete_all(
    transaction: &mut PgConnection,
    user: UserId,
    ids: &[Uuid],
) -> sqlx::Result<u64> {
    let unread: Vec<bool> = sqlx::query_scalar(
        "update notices set deleted_at = now(), preview = ''
         where id = any($1) and user_id = $2 and deleted_at is null
         returning read_at is null",
    )
    .bind(ids)
    .bind(user.0)
    .fetch_all(transaction)
    .await?;
    Ok(unread.into_iter().filter(|unread| *unread).count() as u64)
}
