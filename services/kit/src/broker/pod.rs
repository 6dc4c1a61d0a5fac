//! Consuming a pod's own queue, which is bounded and goes with the pod.

use std::sync::Arc;

use chat_events::{Recorded, Service, limits};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::consume::next_batch;
use super::declare::PodQueue;
use super::keep::Keeper;
use super::{ANSWER, Backoff, Broker, decode};
use crate::metrics as names;

/// What a pod's own queue has to say.
pub enum PodEvent {
    /// From now on events arrive; what happened before is to be fetched.
    Subscribed,
    Events(Arc<[Recorded]>),
    /// The queue is gone or was full, and an unknown number of events with it.
    Lost,
}

impl Broker {
    /// Feeds this pod's own queue to `handle` until `stop`. The queue is
    /// exclusive and bounded: what it loses is fetched again after `Lost`, which comes
    /// within [`super::keep::DECLARE_AGAIN`] when it was full.
    pub async fn consume_pod_queue<F, Fut>(
        &self,
        service: Service,
        pod: &str,
        stop: &CancellationToken,
        mut handle: F,
    ) where
        F: FnMut(PodEvent) -> Fut + Send,
        Fut: Future<Output = ()> + Send,
    {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let channel = tokio::select! {
                () = stop.cancelled() => return,
                channel = self.channel() => channel,
            };
            let queue = Arc::new(PodQueue::new(service, pod));
            let lost = match subscribe_pod(&channel, &queue).await {
                Ok(mut consumer) => {
                    backoff = Backoff::default();
                    handle(PodEvent::Subscribed).await;
                    let end = self
                        .feed_pod(&channel, &queue, &mut consumer, stop, &mut handle)
                        .await;
                    if stop.is_cancelled() {
                        return;
                    }
                    handle(PodEvent::Lost).await;
                    end
                }
                Err(error) => Err(error),
            };
            if let Err(error) = lost {
                tracing::warn!(service = service.name(), error = %error, "the pod's queue is lost");
            }
            let _ = timeout(ANSWER, channel.close(200, "again".into())).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = backoff.wait() => {}
            }
        }
    }

    async fn feed_pod<F, Fut>(
        &self,
        channel: &Channel,
        queue: &Arc<PodQueue>,
        consumer: &mut Consumer,
        stop: &CancellationToken,
        handle: &mut F,
    ) -> anyhow::Result<()>
    where
        F: FnMut(PodEvent) -> Fut + Send,
        Fut: Future<Output = ()> + Send,
    {
        let full = Arc::new(Notify::new());
        let mut keeper = Keeper::of_pod(self, queue, &full);
        loop {
            let deliveries = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                deliveries = next_batch(consumer, limits::BATCH_EVENTS) => deliveries?,
                () = full.notified() => {
                    tracing::warn!(queue = %queue.name, "the pod's queue was full");
                    handle(PodEvent::Lost).await;
                    handle(PodEvent::Subscribed).await;
                    continue;
                }
                error = keeper.ended() => return Err(error),
            };
            let last = deliveries
                .last()
                .map_or(0, |delivery| delivery.delivery_tag);
            let mut events = Vec::new();
            for delivery in &deliveries {
                match decode(&delivery.data) {
                    Ok(envelope) => events.extend(envelope.events),
                    Err(error) => {
                        metrics::counter!(names::EVENTS_FAILED, "queue" => "pod").increment(1);
                        tracing::error!(error, "cannot read an event for this pod");
                    }
                }
            }
            handle(PodEvent::Events(events.into())).await;
            channel
                .basic_ack(last, BasicAckOptions { multiple: true })
                .await?;
        }
    }
}

async fn subscribe_pod(channel: &Channel, queue: &PodQueue) -> anyhow::Result<Consumer> {
    queue.declare(channel).await?;
    channel.basic_qos(300, BasicQosOptions::default()).await?;
    let consumer = channel
        .basic_consume(
            queue.name.clone(),
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok(consumer)
}
