//! AUTH_SRV_UserQueue: people change their display names at users, and what auth
//! answers to the signed-in follows. A repeated or older event changes nothing.

use std::sync::Arc;

use anyhow::anyhow;
use chat_events::{Event, Recorded, Service, topology};
use chat_kit::broker::{Broker, HandleError};
use futures::future::join_all;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

const BATCH: usize = 64;

/// Keeps the names of accounts current until `stop`.
pub async fn follow(consumers: Broker, pool: PgPool, stop: CancellationToken) {
    let own = topology::queues().into_iter();
    let own = own.filter(|queue| queue.owner == Service::Auth);
    join_all(own.map(async |queue| {
        consumers
            .consume(&queue, BATCH, &stop, |events| {
                let pool = pool.clone();
                async move { keep(&pool, events).await }
            })
            .await;
    }))
    .await;
}

/// Row by row: names change seldom, and two replicas cannot wait for each other.
async fn keep(pool: &PgPool, events: Arc<[Recorded]>) -> Result<(), HandleError> {
    for recorded in events.iter() {
        let Event::UserUpdated(user) = &recorded.event else {
            let key = recorded.event.routing_key();
            return Err(HandleError::Failed(anyhow!("unexpected {key}")));
        };
        sqlx::query(
            "update accounts set display_name = $2, version = $3 where id = $1 and version < $3",
        )
        .bind(user.user_id.0)
        .bind(&user.display_name)
        .bind(user.version)
        .execute(pool)
        .await?;
    }
    Ok(())
}
