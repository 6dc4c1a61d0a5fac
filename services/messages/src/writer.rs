//! The one writer of a partition's logs: a batch of sends and reads becomes one
//! transaction, then the answers are published, then the batch is acknowledged.
//! A crash anywhere repeats steps that give the same answers again, so the
//! inbound queue is the outbox.

mod sequence;
mod store;

use std::sync::Arc;
use std::time::Duration;

use chat_events::{Event, Recorded};
use chat_kit::broker::{HandleError, Publisher};
use chat_kit::planted::{self, Bug};
use chat_kit::trace;
use sqlx::PgPool;
use tokio::time::timeout;

use crate::partitions::Lease;

/// Events in one transaction; what came beyond that goes into the next ones.
const TRANSACTION: usize = 256;
/// Longer without a confirm, and the batch is done again.
const CONFIRM: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Writer {
    pool: PgPool,
    publisher: Publisher,
    pod: Arc<str>,
}

impl Writer {
    pub fn new(pool: PgPool, publisher: Publisher, pod: String) -> Self {
        Self {
            pool,
            publisher,
            pod: pod.into(),
        }
    }

    /// Stores and answers a batch. When this returns `Ok`, everything is
    /// committed and every answer is safe on the broker.
    pub async fn handle(
        &self,
        lease: &Lease,
        mut events: Arc<[Recorded]>,
    ) -> Result<(), HandleError> {
        if planted::bug(Bug::OrderByClock) {
            events = by_clock(&events);
        }
        let traceparent = trace::accept(events.first().and_then(|first| first.trace.as_deref()));
        let span = tracing::info_span!(
            "store",
            trace_id = tracing::field::Empty,
            partition = lease.partition,
            events = events.len()
        );
        let work = async {
            for events in events.chunks(TRANSACTION) {
                self.store_and_answer(lease, events).await?;
            }
            Ok(())
        };
        trace::within(traceparent, span, work).await
    }

    async fn store_and_answer(
        &self,
        lease: &Lease,
        events: &[Recorded],
    ) -> Result<(), HandleError> {
        let mut transaction = self.pool.begin().await?;
        if !store::is_owner(&mut transaction, lease, &self.pod).await? {
            lease.stop.cancel();
            let partition = lease.partition;
            return Err(HandleError::Unavailable(anyhow::anyhow!(
                "partition {partition} has another owner by now"
            )));
        }
        let mut logs = store::read(&mut transaction, lease.partition, events).await?;
        let outcome = sequence::sequence(events, &mut logs);
        store::write(&mut transaction, &outcome).await?;
        transaction.commit().await?;
        tracing::debug!(
            messages = outcome.messages.len(),
            reads = outcome.reads.len(),
            answers = outcome.answers.len(),
            "stored"
        );
        match timeout(CONFIRM, self.publisher.publish_all(outcome.answers)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(HandleError::Unavailable(error.into())),
            Err(_) => Err(HandleError::Unavailable(anyhow::anyhow!(
                "the answers were not confirmed within {CONFIRM:?}"
            ))),
        }
    }
}

/// [`Bug::OrderByClock`]: a `client_id` begins with the time of its sender.
fn by_clock(events: &[Recorded]) -> Arc<[Recorded]> {
    let mut events = events.to_vec();
    events.sort_by_key(|recorded| match &recorded.event {
        Event::MessageSent(sent) => sent.client_id.0,
        _ => recorded.id,
    });
    events.into()
}
