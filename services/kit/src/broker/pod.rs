//! Consuming a pod's own queue, which is bounded and goes with the pod.

use std::sync::Arc;

use chat_events::{Recorded, Service, limits};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{Instant, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::consume::{DECLARE_AGAIN, next_batch};
use super::declare::{bind_pod_queue, declare_exchanges, declare_pod_queue};
use super::{ANSWER, Backoff, Broker, decode};
use crate::metrics as names;

/// What a pod's own queue has to say.
pub enum PodEvent {
    /// From now on events arrive; what happened before is to be fetched.
    Subscribed,
    Events(Arc<[Recorded]>),
    /// The queue is gone, and with it an unknown number of events.
    Lost,
}

impl Broker {
    /// Feeds this pod's own queue to `handle` until `stop`. The queue is
    /// exclusive and bounded: what it loses is fetched again after `Lost`.
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
            let subscribed = subscribe_pod(&channel, service, pod).await;
            let lost = match subscribed {
                Ok((queue, mut consumer)) => {
                    backoff = Backoff::default();
                    handle(PodEvent::Subscribed).await;
                    let declared = (service, &queue);
                    let end = feed_pod(&channel, declared, &mut consumer, stop, &mut handle).await;
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
}

async fn feed_pod<F, Fut>(
    channel: &Channel,
    (service, queue): (Service, &ShortString),
    consumer: &mut Consumer,
    stop: &CancellationToken,
    handle: &mut F,
) -> anyhow::Result<()>
where
    F: FnMut(PodEvent) -> Fut + Send,
    Fut: Future<Output = ()> + Send,
{
    let mut again = interval_at(Instant::now() + DECLARE_AGAIN, DECLARE_AGAIN);
    loop {
        let deliveries = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            deliveries = next_batch(consumer, limits::BATCH_EVENTS) => deliveries?,
            _ = again.tick() => {
                timeout(ANSWER, declare_exchanges(channel)).await??;
                timeout(ANSWER, bind_pod_queue(channel, service, queue)).await??;
                continue;
            }
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

async fn subscribe_pod(
    channel: &Channel,
    service: Service,
    pod: &str,
) -> anyhow::Result<(ShortString, Consumer)> {
    let queue = declare_pod_queue(channel, service, pod).await?;
    channel.basic_qos(300, BasicQosOptions::default()).await?;
    let consumer = channel
        .basic_consume(
            queue.clone(),
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok((queue, consumer))
}
