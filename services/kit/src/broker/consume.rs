//! Consuming a durable queue: batches, tries and dead letters.

use std::sync::Arc;
use std::time::Duration;

use chat_events::topology::{Exchange, Queue};
use chat_events::{Envelope, Recorded, Service, limits};
use futures::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::declare::declare_queue;
use super::keep::Keeper;
use super::{ANSWER, Backoff, Broker, decode, persistent, text};
use crate::metrics as names;
use crate::planted::{self, Bug};

/// An event that was delivered this often, and never handled nor refused, takes
/// the process down with it.
const CRASHES: i64 = 50;

/// Why a batch of events could not be handled.
#[derive(Debug)]
pub enum HandleError {
    /// Something we need is away: the same batch is tried again until it works.
    Unavailable(anyhow::Error),
    /// The events themselves are at fault: each is tried alone, and after
    /// [`limits::DELIVERY_TRIES`] goes to the dead-letter queue.
    Failed(anyhow::Error),
}

impl HandleError {
    /// For each of several batches that failed together.
    pub fn of(error: &sqlx::Error) -> Self {
        let told = anyhow::anyhow!("{error:#}");
        if crate::pg::is_unavailable(error) {
            Self::Unavailable(told)
        } else {
            Self::Failed(told)
        }
    }
}

impl From<sqlx::Error> for HandleError {
    fn from(error: sqlx::Error) -> Self {
        if crate::pg::is_unavailable(&error) {
            Self::Unavailable(error.into())
        } else {
            Self::Failed(error.into())
        }
    }
}

impl Broker {
    /// Feeds a durable queue to `handle`, in order and in batches of at most
    /// `batch` events, until `stop`. Events are acknowledged after `handle`
    /// returned. The channel is closed with the consumer still held, because a
    /// cancelled consumer gives its events back after newer ones.
    pub async fn consume<F, Fut>(
        &self,
        queue: &Queue,
        batch: usize,
        stop: &CancellationToken,
        mut handle: F,
    ) where
        F: FnMut(Arc<[Recorded]>) -> Fut + Send,
        Fut: Future<Output = Result<(), HandleError>> + Send,
    {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let channel = tokio::select! {
                () = stop.cancelled() => return,
                channel = self.channel() => channel,
            };
            match self
                .consume_once(&channel, queue, batch, stop, &mut handle)
                .await
            {
                Ok(()) => backoff = Backoff::default(),
                Err(error) => {
                    tracing::warn!(queue = queue.name, error = %error, "consumer stopped");
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = backoff.wait() => {}
                    }
                }
            }
        }
    }

    async fn consume_once<F, Fut>(
        &self,
        channel: &Channel,
        queue: &Queue,
        batch: usize,
        stop: &CancellationToken,
        handle: &mut F,
    ) -> anyhow::Result<()>
    where
        F: FnMut(Arc<[Recorded]>) -> Fut + Send,
        Fut: Future<Output = Result<(), HandleError>> + Send,
    {
        declare_queue(channel, queue).await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let prefetch = u16::try_from(2 * batch).unwrap_or(u16::MAX);
        channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await?;
        let state = channel
            .queue_declare(
                queue.name.as_str().into(),
                QueueDeclareOptions {
                    passive: true,
                    ..QueueDeclareOptions::default()
                },
                FieldTable::default(),
            )
            .await?;
        metrics::gauge!(names::QUEUE_DEPTH, "queue" => queue.name.clone())
            .set(f64::from(state.message_count()));
        let mut consumer = channel
            .basic_consume(
                queue.name.as_str().into(),
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        let outcome = self
            .feed(channel, &mut consumer, queue, batch, stop, handle)
            .await;
        // Closed before the consumer is dropped: a dropped consumer is a
        // cancelled one.
        let _ = timeout(ANSWER, channel.close(200, "done".into())).await;
        drop(consumer);
        outcome
    }

    async fn feed<F, Fut>(
        &self,
        channel: &Channel,
        consumer: &mut Consumer,
        queue: &Queue,
        batch: usize,
        stop: &CancellationToken,
        handle: &mut F,
    ) -> anyhow::Result<()>
    where
        F: FnMut(Arc<[Recorded]>) -> Fut + Send,
        Fut: Future<Output = Result<(), HandleError>> + Send,
    {
        let mut keeper = Keeper::of_queue(self, queue);
        loop {
            let deliveries = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                deliveries = next_batch(consumer, batch) => deliveries?,
                error = keeper.ended() => return Err(error),
            };
            let early = planted::bug(match queue.owner {
                Service::Messages => Bug::AckBeforeCommit,
                _ => Bug::AckBeforeEffect,
            });
            if early {
                channel
                    .basic_ack(0, BasicAckOptions { multiple: true })
                    .await?;
            }
            // The newest delivery that is not given back: to acknowledge one
            // that was is an error that closes the channel.
            let mut last = None;
            let mut events = Vec::new();
            for delivery in &deliveries {
                match decode(&delivery.data) {
                    Ok(_) if earlier_tries(delivery) >= CRASHES => {
                        self.handle_all(channel, queue, std::mem::take(&mut events), stop, handle)
                            .await?;
                        bury(channel, queue, &delivery.data, "delivered again and again").await?;
                        last = Some(delivery.delivery_tag);
                    }
                    Ok(envelope) => {
                        events.extend(envelope.events);
                        last = Some(delivery.delivery_tag);
                    }
                    Err(error) => {
                        assert!(!planted::bug(Bug::PanicOnBadEvent), "{error}");
                        // Those before it first, so that order holds.
                        self.handle_all(channel, queue, std::mem::take(&mut events), stop, handle)
                            .await?;
                        metrics::counter!(names::EVENTS_FAILED, "queue" => queue.name.clone())
                            .increment(1);
                        if earlier_tries(delivery) + 1 < limits::DELIVERY_TRIES
                            || planted::bug(Bug::RequeueForEver)
                        {
                            // Another version of this service may be able to read it.
                            let again = BasicNackOptions {
                                requeue: true,
                                ..BasicNackOptions::default()
                            };
                            channel.basic_nack(delivery.delivery_tag, again).await?;
                        } else {
                            bury(channel, queue, &delivery.data, &error).await?;
                            last = Some(delivery.delivery_tag);
                        }
                    }
                }
            }
            self.handle_all(channel, queue, events, stop, handle)
                .await?;
            if let Some(last) = last.filter(|_| !early) {
                channel
                    .basic_ack(last, BasicAckOptions { multiple: true })
                    .await?;
            }
        }
    }

    async fn handle_all<F, Fut>(
        &self,
        channel: &Channel,
        queue: &Queue,
        events: Vec<Recorded>,
        stop: &CancellationToken,
        handle: &mut F,
    ) -> anyhow::Result<()>
    where
        F: FnMut(Arc<[Recorded]>) -> Fut + Send,
        Fut: Future<Output = Result<(), HandleError>> + Send,
    {
        if events.is_empty() {
            return Ok(());
        }
        let events: Arc<[Recorded]> = events.into();
        if let Err(error) = try_until_available(&events, queue, stop, handle).await? {
            tracing::warn!(
                queue = queue.name,
                error = format!("{error:#}"),
                "a batch failed; trying each event alone"
            );
            for event in events.iter() {
                let alone: Arc<[Recorded]> = Arc::new([event.clone()]);
                let mut tries = 0;
                while let Err(error) = try_until_available(&alone, queue, stop, handle).await? {
                    tries += 1;
                    metrics::counter!(names::EVENTS_FAILED, "queue" => queue.name.clone())
                        .increment(1);
                    if tries >= limits::DELIVERY_TRIES {
                        let body = serde_json::to_vec(&Envelope::new(vec![event.clone()]))?;
                        bury(channel, queue, &body, &format!("{error:#}")).await?;
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10 << tries)).await;
                }
            }
        }
        metrics::counter!(names::EVENTS_HANDLED, "queue" => queue.name.clone())
            .increment(events.len() as u64);
        Ok(())
    }
}

/// Retries while something is away; the inner result is the batch's own fault.
async fn try_until_available<F, Fut>(
    events: &Arc<[Recorded]>,
    queue: &Queue,
    stop: &CancellationToken,
    handle: &mut F,
) -> anyhow::Result<Result<(), anyhow::Error>>
where
    F: FnMut(Arc<[Recorded]>) -> Fut + Send,
    Fut: Future<Output = Result<(), HandleError>> + Send,
{
    let mut backoff = Backoff::default();
    loop {
        // A handler that panics is a handler that failed.
        let outcome = std::panic::AssertUnwindSafe(handle(events.clone()))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(HandleError::Failed(anyhow::anyhow!("the handler panicked"))));
        match outcome {
            Ok(()) => return Ok(Ok(())),
            Err(HandleError::Failed(error)) => return Ok(Err(error)),
            Err(HandleError::Unavailable(error)) => {
                tracing::warn!(
                    queue = queue.name,
                    error = format!("{error:#}"),
                    "waiting to handle events"
                );
                tokio::select! {
                    () = stop.cancelled() => anyhow::bail!("stopped while waiting"),
                    () = backoff.wait() => {}
                }
            }
        }
    }
}

/// The next delivery and what else is there already, up to `batch` events.
pub(super) async fn next_batch(
    consumer: &mut Consumer,
    batch: usize,
) -> anyhow::Result<Vec<lapin::message::Delivery>> {
    let first = consumer
        .next()
        .await
        .ok_or_else(|| anyhow::anyhow!("the broker ended the consumer"))??;
    let mut deliveries = vec![first];
    while deliveries.len() < batch {
        match consumer.next().now_or_never() {
            Some(Some(delivery)) => deliveries.push(delivery?),
            _ => break,
        }
    }
    Ok(deliveries)
}

/// Gives a body to the queue's dead-letter queue, and waits until it is safe there.
async fn bury(channel: &Channel, queue: &Queue, body: &[u8], reason: &str) -> anyhow::Result<()> {
    let mut headers = FieldTable::default();
    headers.insert("x-reason".into(), text(reason));
    headers.insert("x-queue".into(), text(&queue.name));
    let confirm = channel
        .basic_publish(
            Exchange::DeadLetter.name().into(),
            queue.name.as_str().into(),
            BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            },
            body,
            persistent().with_headers(headers),
        )
        .await?;
    let confirmation = timeout(ANSWER, confirm).await??;
    anyhow::ensure!(
        confirmation.is_ack() && confirmation.take_message().is_none(),
        "the dead-letter queue did not take the event"
    );
    metrics::counter!(names::DEAD_LETTERS, "queue" => queue.name.clone()).increment(1);
    tracing::error!(
        queue = queue.name,
        reason,
        "an event went to the dead-letter queue"
    );
    Ok(())
}

/// How often the broker delivered this before, by whichever count it keeps.
/// Without any count, a repeat is taken for the last one.
fn earlier_tries(delivery: &lapin::message::Delivery) -> i64 {
    let count = |name: &str| {
        let headers = delivery.properties.headers().as_ref()?;
        headers.inner().get(name)?.as_long_long_int()
    };
    count("x-delivery-count")
        .into_iter()
        .chain(count("x-acquired-count"))
        .max()
        .unwrap_or(if delivery.redelivered {
            limits::DELIVERY_TRIES
        } else {
            0
        })
}
