//! Names and presence of users.

use std::collections::BTreeMap;

use chat_events::{Event, PublicUser, Recorded, UserId, UserRef, UserSeen, limits};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;
use uuid::Uuid;

/// Who is online, at most so many.
const ONLINE: i64 = limits::PEOPLE_PER_FRAME as i64;

/// Applies events about users in any order and any number of times.
pub async fn apply(
    transaction: &mut PgConnection,
    events: impl IntoIterator<Item = &Recorded>,
) -> sqlx::Result<()> {
    let mut others = Vec::new();
    let mut seen: BTreeMap<UserId, Seen<'_>> = BTreeMap::new();
    for recorded in events {
        let (user, online) = match &recorded.event {
            Event::UserOnline(user) => (user, true),
            Event::UserOffline(user) => (user, false),
            event => {
                others.extend(subject(event).map(|user| (user, event)));
                continue;
            }
        };
        let at = recorded.at;
        let newest = seen.entry(user.user_id);
        let newest = newest.or_insert(Seen { user, online, at });
        if newest.at < at {
            *newest = Seen { user, online, at };
        }
    }
    // Two batches that lock the same rows in the same order cannot block each other.
    others.sort_by_key(|(user, _)| *user);
    for (_, event) in others {
        match event {
            Event::UserRegistered(user) | Event::UserUpdated(user) => {
                named(transaction, user).await?;
            }
            Event::UserDeleted { user_id } => deleted(transaction, *user_id).await?,
            _ => {}
        }
    }
    if !seen.is_empty() {
        note_seen(transaction, &seen).await?;
    }
    Ok(())
}

/// What users said of somebody's presence, and when.
struct Seen<'a> {
    user: &'a UserSeen,
    online: bool,
    at: Timestamp,
}

/// Whom an event is about, if it is one of those that [`apply`] knows.
pub const fn subject(event: &Event) -> Option<UserId> {
    match event {
        Event::UserRegistered(user) | Event::UserUpdated(user) => Some(user.user_id),
        Event::UserDeleted { user_id } => Some(*user_id),
        Event::UserOnline(user) | Event::UserOffline(user) => Some(user.user_id),
        _ => None,
    }
}

async fn named(transaction: &mut PgConnection, user: &UserRef) -> sqlx::Result<()> {
    sqlx::query(
        "insert into people (user_id, username, display_name, version) values ($1, $2, $3, $4)
         on conflict on constraint people_key do update
         set username = excluded.username, display_name = excluded.display_name,
             version = excluded.version
         where people.version < excluded.version and people.deleted_at is null",
    )
    .bind(user.user_id.0)
    .bind(&user.username)
    .bind(&user.display_name)
    .bind(user.version)
    .execute(transaction)
    .await?;
    Ok(())
}

/// The names of the events are as old as the profiles that users had then, so they only
/// fill rows that do not exist yet. What is known already, from the queue of the service
/// or of a pod, does not lock a row.
async fn note_seen(
    transaction: &mut PgConnection,
    seen: &BTreeMap<UserId, Seen<'_>>,
) -> sqlx::Result<()> {
    let each = || seen.values();
    sqlx::query(
        "insert into people (user_id, username, display_name, online, seen_at)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bool[], $5::timestamptz[])
             as given (user_id, username, display_name, online, seen_at)
         where not exists (
             select from people known
             where known.user_id = given.user_id
               and (known.seen_at >= given.seen_at or known.deleted_at is not null)
         )
         order by user_id
         on conflict on constraint people_key do update
         set online = excluded.online, seen_at = excluded.seen_at
         where (people.seen_at is null or people.seen_at < excluded.seen_at)
           and people.deleted_at is null",
    )
    .bind(seen.keys().map(|user| user.0).collect::<Vec<_>>())
    .bind(
        each()
            .map(|it| it.user.username.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        each()
            .map(|it| it.user.display_name.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(each().map(|it| it.online).collect::<Vec<_>>())
    .bind(each().map(|it| it.at.to_sqlx()).collect::<Vec<_>>())
    .execute(transaction)
    .await?;
    Ok(())
}

async fn deleted(transaction: &mut PgConnection, user: UserId) -> sqlx::Result<()> {
    sqlx::query(
        "insert into people (user_id, username, display_name, deleted_at) values ($1, '', '', now())
         on conflict on constraint people_key do update
         set username = '', display_name = '', online = false, deleted_at = now()
         where people.deleted_at is null",
    )
    .bind(user.0)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("select forget($1)")
        .bind(user.0)
        .execute(transaction)
        .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct Row {
    user_id: Uuid,
    username: String,
    display_name: String,
    online: bool,
}

impl From<Row> for PublicUser {
    fn from(row: Row) -> Self {
        Self {
            id: UserId(row.user_id),
            username: row.username,
            display_name: row.display_name,
        }
    }
}

/// Those who are online, by name.
pub async fn online(connection: &mut PgConnection) -> sqlx::Result<Vec<PublicUser>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select user_id, username, display_name, online from people
         where online order by username limit $1",
    )
    .bind(ONLINE)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(PublicUser::from).collect())
}

/// Whether each of the users is online, and their names.
pub async fn presence_of(
    connection: &mut PgConnection,
    users: &[Uuid],
) -> sqlx::Result<Vec<(PublicUser, bool)>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select user_id, username, display_name, online from people
         where user_id = any($1) and deleted_at is null",
    )
    .bind(users)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let online = row.online;
            (row.into(), online)
        })
        .collect())
}
