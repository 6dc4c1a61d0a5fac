//! UserRegistrationQueue: who has an account. A repeated event changes nothing,
//! and the two kinds may arrive in any order.

use chat_events::{Event, Recorded, UserRef, UserSeen};
use chat_kit::broker::HandleError;
use sqlx::PgConnection;
use uuid::Uuid;

use super::stray;
use crate::directory;
use crate::presence::{Hint, Presence};

pub async fn handle(presence: &Presence, events: &[Recorded]) -> Result<(), HandleError> {
    let (mut registered, mut deleted) = (Vec::new(), Vec::new());
    for recorded in events {
        match &recorded.event {
            Event::UserRegistered(user) => registered.push((user, recorded)),
            Event::UserDeleted { user_id } => deleted.push((user_id.0, recorded)),
            _ => return Err(stray(recorded)),
        }
    }
    let mut transaction = presence.database.begin().await?;
    let users: Vec<&UserRef> = registered.iter().map(|(user, _)| *user).collect();
    let added = add(&mut transaction, &users).await?;
    let ids: Vec<Uuid> = deleted.iter().map(|(id, _)| *id).collect();
    let removed = remove(&mut transaction, &ids).await?;
    if !added.is_empty() || !removed.is_empty() {
        directory::bump(&mut transaction).await?;
    }
    // The sockets of a deleted user close later, and nobody is left to go offline then.
    let offline: Vec<Recorded> = removed
        .into_iter()
        .filter(|user| user.online)
        .map(|user| {
            let cause = deleted.iter().find(|(id, _)| *id == user.id);
            let trace = cause.and_then(|(_, recorded)| recorded.trace.clone());
            Recorded::new(Event::UserOffline(user.into()), trace)
        })
        .collect();
    if !offline.is_empty() {
        presence.outbox.put_all(&mut transaction, offline).await?;
    }
    transaction.commit().await?;
    presence.outbox.wake();
    // Somebody may have opened a socket before he was known here.
    let hints: Vec<Hint> = registered
        .iter()
        .filter(|(user, _)| added.contains(&user.user_id.0))
        .map(|(user, recorded)| Hint {
            user: user.user_id,
            trace: recorded.trace.clone(),
        })
        .collect();
    presence.look_or_leave(&hints).await;
    Ok(())
}

/// Returns those who are new.
async fn add(transaction: &mut PgConnection, users: &[&UserRef]) -> sqlx::Result<Vec<Uuid>> {
    let texts = |text: fn(&UserRef) -> String| users.iter().map(|user| text(user)).collect();
    let ids: Vec<Uuid> = users.iter().map(|user| user.user_id.0).collect();
    let versions: Vec<i64> = users.iter().map(|user| user.version).collect();
    let usernames: Vec<String> = texts(|user| user.username.clone());
    let display_names: Vec<String> = texts(|user| user.display_name.clone());
    let username_keys: Vec<String> = texts(|user| user.username.to_lowercase());
    let display_name_keys: Vec<String> = texts(|user| user.display_name.to_lowercase());
    sqlx::query_scalar(
        "insert into users
             (id, username, display_name, username_key, display_name_key, version)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
             as given (id, username, display_name, username_key, display_name_key, version)
         where not exists (select from deleted_users where deleted_users.id = given.id)
         on conflict on constraint users_pkey do nothing
         returning id",
    )
    .bind(ids)
    .bind(usernames)
    .bind(display_names)
    .bind(username_keys)
    .bind(display_name_keys)
    .bind(versions)
    .fetch_all(transaction)
    .await
}

#[derive(sqlx::FromRow)]
struct Removed {
    id: Uuid,
    username: String,
    display_name: String,
    online: bool,
}

impl From<Removed> for UserSeen {
    fn from(user: Removed) -> Self {
        Self {
            user_id: user.id.into(),
            username: user.username,
            display_name: user.display_name,
        }
    }
}

/// Returns those who were still here.
async fn remove(transaction: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Removed>> {
    sqlx::query(
        "insert into deleted_users (id) select unnest($1::uuid[])
         on conflict on constraint deleted_users_pkey do nothing",
    )
    .bind(ids)
    .execute(&mut *transaction)
    .await?;
    sqlx::query_as(
        "delete from users where id = any($1) returning id, username, display_name, online",
    )
    .bind(ids)
    .fetch_all(transaction)
    .await
}
