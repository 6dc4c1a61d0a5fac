//! A user's inbox: the lock on its notices, and the count of unread ones.

use std::collections::{BTreeMap, BTreeSet};

use chat_events::{Event, NoticeCreated, UserId};
use chat_kit::outbox::Outbox;
use sqlx::PgConnection;
use uuid::Uuid;

/// Locks the inboxes until the transaction ends. Call it before anything else,
/// and with everybody at once: in the order of the ids there is no deadlock.
pub async fn lock(
    transaction: &mut PgConnection,
    users: impl IntoIterator<Item = UserId>,
) -> sqlx::Result<()> {
    let users: BTreeSet<Uuid> = users.into_iter().map(|user| user.0).collect();
    let users: Vec<Uuid> = users.into_iter().collect();
    sqlx::query(
        "insert into inboxes (user_id)
         select user_id from unnest($1::uuid[]) as given (user_id) order by user_id
         on conflict do nothing",
    )
    .bind(&users)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("select from inboxes where user_id = any($1) order by user_id for update")
        .bind(&users)
        .execute(transaction)
        .await?;
    Ok(())
}

/// Adds to the counts; returns the new ones.
pub async fn count(
    transaction: &mut PgConnection,
    changes: &BTreeMap<UserId, i64>,
) -> sqlx::Result<BTreeMap<UserId, i64>> {
    let (users, changes): (Vec<Uuid>, Vec<i64>) = changes
        .iter()
        .map(|(user, change)| (user.0, *change))
        .unzip();
    let counts: Vec<(Uuid, i64)> = sqlx::query_as(
        "update inboxes set unread = inboxes.unread + change.by
         from unnest($1::uuid[], $2::bigint[]) as change (user_id, by)
         where inboxes.user_id = change.user_id
         returning inboxes.user_id, inboxes.unread",
    )
    .bind(users)
    .bind(changes)
    .fetch_all(transaction)
    .await?;
    Ok(counts
        .into_iter()
        .map(|(user, unread)| (UserId(user), unread))
        .collect())
}

/// The user has `fewer` unread notices than before: counts, and tells the open
/// sockets of all devices.
pub async fn settle(
    transaction: &mut PgConnection,
    outbox: &Outbox,
    user: UserId,
    fewer: u64,
) -> sqlx::Result<()> {
    if fewer == 0 {
        return Ok(());
    }
    let fewer = i64::try_from(fewer).unwrap_or(i64::MAX);
    let counts = count(transaction, &BTreeMap::from([(user, -fewer)])).await?;
    let told = NoticeCreated {
        user_id: user,
        unread: counts.get(&user).copied().unwrap_or_default(),
        notice: None,
    };
    outbox.put(transaction, Event::Notice(told)).await
}

/// How many unread notices the user has.
pub async fn unread(connection: &mut PgConnection, user: UserId) -> sqlx::Result<i64> {
    let unread: Option<i64> = sqlx::query_scalar("select unread from inboxes where user_id = $1")
        .bind(user.0)
        .fetch_optional(connection)
        .await?;
    Ok(unread.unwrap_or_default())
}
