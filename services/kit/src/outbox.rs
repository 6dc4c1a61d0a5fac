//! The transactional outbox: an event is written in the transaction of the
//! change that it tells of, and published afterwards, as often as it takes.
//!
//! A service that uses it has this table:
//! ```sql
//! create table outbox (
//!     id bigint generated always as identity primary key,
//!     event jsonb not null
//! );
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chat_events::{Event, Recorded, limits};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::{Backoff, Publisher};
use crate::planted::{self, Bug};
use crate::{metrics as names, trace};

/// Rows of a process that died are found after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Of [`Bug::OutboxCursor`].
static PASSED: AtomicI64 = AtomicI64::new(0);

#[derive(Clone, Default)]
pub struct Outbox {
    written: Arc<Notify>,
}

impl Outbox {
    /// Writes an event in the caller's transaction.
    pub async fn put(&self, transaction: &mut PgConnection, event: Event) -> sqlx::Result<()> {
        let recorded = Recorded::new(event, trace::current());
        sqlx::query("insert into outbox (event) values ($1)")
            .bind(Json(recorded))
            .execute(transaction)
            .await?;
        Ok(())
    }

    /// Writes many events, in their order, with one statement.
    pub async fn put_all(
        &self,
        transaction: &mut PgConnection,
        events: Vec<Recorded>,
    ) -> sqlx::Result<()> {
        let events: Vec<Json<Recorded>> = events.into_iter().map(Json).collect();
        sqlx::query(
            "insert into outbox (event)
             select event from unnest($1::jsonb[]) with ordinality as given (event, place)
             order by place",
        )
        .bind(events)
        .execute(transaction)
        .await?;
        Ok(())
    }

    /// Says that a transaction with events was committed, so that they leave at once.
    pub fn wake(&self) {
        self.written.notify_one();
    }

    /// Publishes what was written, in order, until `stop`.
    pub async fn relay(self, pool: PgPool, publisher: Publisher, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut awaited = false;
        loop {
            match relay_batch(&pool, &publisher, awaited).await {
                Ok(count) => {
                    metrics::gauge!(names::OUTBOX_DEPTH).set(count as f64);
                    backoff = Backoff::default();
                    if count == limits::BATCH_EVENTS {
                        continue;
                    }
                    awaited = tokio::select! {
                        () = stop.cancelled() => return,
                        () = self.written.notified() => true,
                        () = tokio::time::sleep(LOOK_AGAIN) => false,
                    };
                }
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the outbox waits");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = backoff.wait() => {}
                    }
                }
            }
        }
    }
}

/// Claims the oldest rows, publishes them and deletes them when they are safe
/// on the broker. One relay at a time, because two would mix up the order.
/// Rows are deleted by id, never read past an id: a slow transaction may
/// commit a lower id later. Rows that nobody told of are looked for without a transaction.
async fn relay_batch(pool: &PgPool, publisher: &Publisher, awaited: bool) -> anyhow::Result<usize> {
    if !awaited {
        let any: bool = sqlx::query_scalar("select exists (select from outbox)")
            .fetch_one(pool)
            .await?;
        if !any {
            return Ok(0);
        }
    }
    let mut transaction = pool.begin().await?;
    let mut rows: Vec<(i64, Json<Recorded>)> = sqlx::query_as(
        "with relay as materialized (
             select pg_try_advisory_xact_lock(hashtext('outbox')) as mine
         )
         delete from outbox where id in (
             select id from outbox, relay where relay.mine
             order by id limit $1 for update of outbox skip locked
         ) returning id, event",
    )
    .bind(limits::BATCH_EVENTS as i64)
    .fetch_all(&mut *transaction)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    rows.sort_unstable_by_key(|(id, _)| *id);
    if planted::bug(Bug::OutboxCursor) {
        rows.retain(|(id, _)| PASSED.fetch_max(*id, Ordering::Relaxed) < *id);
    }
    let count = rows.len();
    let events: Vec<Recorded> = rows.into_iter().map(|(_, Json(event))| event).collect();
    let publish = async {
        // The publisher keeps the order within a routing key only; a user who
        // comes and goes must not be heard the other way round.
        for same in events.chunk_by(|a, b| a.event.routing_key() == b.event.routing_key()) {
            publisher.publish_all(same.to_vec()).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(15), publish).await??;
    transaction.commit().await?;
    Ok(count)
}
