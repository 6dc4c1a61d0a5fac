//! How many notices are unread to a user: what stands above the user's marks, without
//! the exceptions.

use std::collections::HashMap;

use chat_events::{Event, NoticeCreated, UserId};
use chat_kit::outbox::Outbox;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

/// A count as of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub unread: i64,
    /// So many handled messages are counted or left out on purpose.
    pub place: i64,
}

/// What is read in it is of one moment.
pub async fn snapshot(database: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    database
        .begin_with("begin isolation level repeatable read, read only")
        .await
}

/// The counts of all the users.
pub async fn counts(
    connection: &mut PgConnection,
    users: &[UserId],
) -> sqlx::Result<HashMap<UserId, Count>> {
    let users: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(
        "select asked.user_id,
             coalesce((
                 select sum((
                     select count(*) from message_notices n
                     where n.audience = a.audience and n.seq > mark.up_to
                       and n.sender_id <> a.user_id
                 ) - (
                     select count(*) from exceptions e
                     where e.user_id = a.user_id and e.audience = a.audience
                       and e.seq > mark.up_to
                 ))
                 from audiences a
                 cross join lateral (
                     select coalesce((
                         select m.up_to from read_marks m
                         where m.conversation_id = a.conversation_id and m.user_id = a.user_id
                     ), 0) as up_to
                 ) mark
                 where a.user_id = asked.user_id
             ), 0)::bigint,
             progress.place
         from unnest($1::uuid[]) as asked (user_id), progress where progress.one",
    )
    .bind(users)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(user, unread, place)| (UserId(user), Count { unread, place }))
        .collect())
}

/// How many unread notices the user has.
pub async fn unread(connection: &mut PgConnection, user: UserId) -> sqlx::Result<i64> {
    let counts = counts(connection, &[user]).await?;
    Ok(counts.get(&user).map_or(0, |count| count.unread))
}

/// Fewer may be unread than before: tells the open sockets of all devices.
pub async fn settle(
    transaction: &mut PgConnection,
    outbox: &Outbox,
    user: UserId,
) -> sqlx::Result<()> {
    let told = NoticeCreated {
        user_id: user,
        // Pods of the earlier release say it as it is; the others look themselves.
        unread: unread(transaction, user).await?,
        notice: None,
    };
    outbox.put(transaction, Event::Notice(told)).await
}
