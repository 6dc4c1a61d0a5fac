//! Names of people, kept from the events of auth and users.

use std::collections::HashMap;
use std::sync::Arc;

use chat_events::{Event, Recorded, UserId, UserRef, topology};
use chat_kit::broker::{Broker, HandleError};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const QUEUE: &str = "MESSAGES_SRV_UserQueue";
const BATCH: usize = 256;

/// Keeps the table of people current until `stop`.
pub async fn consume(consumers: Broker, pool: PgPool, stop: CancellationToken) {
    let Some(queue) = topology::queues()
        .into_iter()
        .find(|queue| queue.name == QUEUE)
    else {
        tracing::error!(queue = QUEUE, "the topology has no such queue");
        return;
    };
    consumers
        .consume(&queue, BATCH, &stop, |events| {
            let pool = pool.clone();
            async move { keep(&pool, events).await }
        })
        .await;
}

struct Person {
    username: String,
    display_name: String,
    version: i64,
    deleted: bool,
}

/// Writes the newest version of each person; older events change nothing.
async fn keep(pool: &PgPool, events: Arc<[Recorded]>) -> Result<(), HandleError> {
    let mut people: HashMap<UserId, Person> = HashMap::new();
    for recorded in events.iter() {
        let (user, person) = match &recorded.event {
            Event::UserRegistered(user) | Event::UserUpdated(user) => (user.user_id, named(user)),
            Event::UserDeleted { user_id } => (*user_id, deleted()),
            other => {
                let key = other.routing_key();
                return Err(HandleError::Failed(anyhow::anyhow!("unexpected {key}")));
            }
        };
        match people.get(&user) {
            Some(known) if known.version >= person.version => {}
            _ => {
                people.insert(user, person);
            }
        }
    }
    let mut ids: Vec<Uuid> = Vec::with_capacity(people.len());
    let (mut usernames, mut display_names) = (Vec::new(), Vec::new());
    let (mut versions, mut deletions) = (Vec::new(), Vec::new());
    for (user, person) in people {
        ids.push(user.0);
        usernames.push(person.username);
        display_names.push(person.display_name);
        versions.push(person.version);
        deletions.push(person.deleted);
    }
    sqlx::query(
        "insert into people (user_id, username, display_name, version, deleted)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bool[])
             as new (user_id, username, display_name, version, deleted)
         order by user_id
         on conflict on constraint people_pkey do update set
             username = case when excluded.deleted then people.username else excluded.username end,
             display_name = case when excluded.deleted then people.display_name else excluded.display_name end,
             version = excluded.version,
             deleted = excluded.deleted
         where excluded.version > people.version",
    )
    .bind(ids)
    .bind(usernames)
    .bind(display_names)
    .bind(versions)
    .bind(deletions)
    .execute(pool)
    .await?;
    Ok(())
}

fn named(user: &UserRef) -> Person {
    Person {
        username: user.username.clone(),
        display_name: user.display_name.clone(),
        version: user.version,
        deleted: false,
    }
}

fn deleted() -> Person {
    Person {
        username: String::new(),
        display_name: String::new(),
        version: i64::MAX,
        deleted: true,
    }
}
