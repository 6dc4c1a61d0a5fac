//! UserLoginQueue and UserSignoutQueue: when somebody was last here. Whether he
//! is here now, his sockets tell. The latest time wins, so that repeats and any
//! order do no harm.

use std::collections::BTreeMap;

use chat_events::{Event, Recorded};
use chat_kit::broker::HandleError;
use jiff_sqlx::ToSqlx as _;
use uuid::Uuid;

use super::stray;
use crate::directory;
use crate::presence::Presence;

pub async fn handle(presence: &Presence, events: &[Recorded]) -> Result<(), HandleError> {
    let mut latest = BTreeMap::new();
    for recorded in events {
        let (Event::UserLoggedIn { user_id, .. } | Event::UserSignedOut { user_id, .. }) =
            &recorded.event
        else {
            return Err(stray(recorded));
        };
        let at = latest.entry(user_id.0).or_insert(recorded.at);
        *at = recorded.at.max(*at);
    }
    let ids: Vec<Uuid> = latest.keys().copied().collect();
    let times: Vec<jiff_sqlx::Timestamp> = latest.values().map(|at| at.to_sqlx()).collect();
    let mut transaction = presence.database.begin().await?;
    // Locked in the order of ids, as everywhere, against deadlocks.
    let changed = sqlx::query(
        "with latest as (
             select users.id, given.at
             from unnest($1::uuid[], $2::timestamptz[]) as given (id, at) join users using (id)
             where users.last_seen_at is null or users.last_seen_at < given.at
             order by users.id for update of users
         )
         update users set last_seen_at = latest.at from latest where users.id = latest.id",
    )
    .bind(ids)
    .bind(times)
    .execute(&mut *transaction)
    .await?
    .rows_affected();
    if changed > 0 {
        directory::bump(&mut transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}
