//! The task behind a publisher: it sends what waits, and hears what is confirmed.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use chat_events::topology::Exchange;
use chat_events::{Event, limits};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::waiting::Waiting;
use super::{Outgoing, PublishError, WAITING};
use crate::broker::{ANSWER, Backoff, Body, Broker, CONTENT_TYPE, declare, persistent};
use crate::metrics as names;
use crate::planted::{self, Bug};

const LOOK: Duration = Duration::from_secs(1);
/// Lanes set out so far apart: what comes meanwhile costs the broker little in the next
/// message, and much in one of its own. At rest nothing waits.
const APART: Duration = Duration::from_millis(5);
/// A queue that is slower than this is waited for by its own lane only.
const TOGETHER: Duration = Duration::from_millis(10);
/// An event that no queue takes is tried this often before its publisher is told.
const UNROUTED_TRIES: u32 = 5;

type Lane = (Exchange, String);
type Confirm = Pin<Box<dyn Future<Output = (Lane, anyhow::Result<Confirmation>)> + Send>>;

pub struct Worker {
    broker: Broker,
    incoming: mpsc::Receiver<Outgoing>,
    lanes: HashMap<Lane, Waiting>,
}

impl Worker {
    pub fn new(broker: Broker, incoming: mpsc::Receiver<Outgoing>) -> Self {
        Self {
            broker,
            incoming,
            lanes: HashMap::new(),
        }
    }

    /// Until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        loop {
            let channel = tokio::select! {
                () = stop.cancelled() => return,
                channel = self.broker.channel() => channel,
            };
            match self.publish_on(&channel, &stop, &mut backoff).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(error = %error, "publishing is interrupted; unconfirmed events are sent again");
                }
            }
            let _ = timeout(ANSWER, channel.close(200, "again".into())).await;
            // Oldest first: what was under way goes back to the front.
            for lane in self.lanes.values_mut() {
                for outgoing in lane.sent.drain(..).rev() {
                    lane.queue.push_front(outgoing);
                }
            }
            backoff.wait().await;
        }
    }

    /// Ends well only when everything is sent and `stop` was asked for.
    async fn publish_on(
        &mut self,
        channel: &Channel,
        stop: &CancellationToken,
        backoff: &mut Backoff,
    ) -> anyhow::Result<()> {
        timeout(
            ANSWER,
            channel.confirm_select(ConfirmSelectOptions::default()),
        )
        .await??;
        let mut confirms: FuturesUnordered<Confirm> = FuturesUnordered::new();
        let mut arrived = Vec::with_capacity(limits::BATCH_EVENTS);
        let mut look = tokio::time::interval(LOOK);
        let mut set_out = Instant::now();
        loop {
            if Instant::now() >= next_after(set_out, &confirms)
                && self.send(channel, &mut confirms)?
            {
                set_out = Instant::now();
            }
            let waiting: usize = self.lanes.values().map(Waiting::len).sum();
            let free = self.lanes.values().any(|lane| lane.sent.is_empty());
            let again = next_after(set_out, &confirms);
            metrics::gauge!(names::PUBLISH_QUEUE).set(waiting as f64);
            if stop.is_cancelled() && waiting == 0 {
                return Ok(());
            }
            tokio::select! {
                Some((lane, confirmation)) = confirms.next(), if !confirms.is_empty() => {
                    self.confirmed(channel, &lane, confirmation?, backoff).await?;
                }
                count = self.incoming.recv_many(&mut arrived, limits::BATCH_EVENTS), if waiting < WAITING => {
                    if count == 0 && waiting == 0 {
                        return Ok(());
                    }
                    for outgoing in arrived.drain(..) {
                        let lane = (outgoing.event.event.exchange(), outgoing.event.event.routing_key());
                        self.lanes.entry(lane).or_default().queue.push_back(outgoing);
                    }
                }
                () = sleep_until(again), if free => {}
                () = stop.cancelled(), if waiting == 0 => {}
                // With nothing to send, nothing else would notice a lost broker.
                _ = look.tick() => anyhow::ensure!(channel.status().connected(), "the connection is lost"),
            }
        }
    }

    /// Sends the next broker message of each lane that has none under way; whether
    /// there was one.
    fn send(
        &mut self,
        channel: &Channel,
        confirms: &mut FuturesUnordered<Confirm>,
    ) -> anyhow::Result<bool> {
        let under_way = confirms.len();
        for (lane, waiting) in &mut self.lanes {
            if waiting.sent.is_empty()
                && let Some(body) = waiting.next()?
                && let Some(first) = waiting.sent.first()
            {
                let sent = publish(channel.clone(), lane.clone(), &first.event.event, body);
                confirms.push(Box::pin(sent));
            }
        }
        self.lanes.retain(|_, waiting| waiting.len() > 0);
        Ok(confirms.len() > under_way)
    }

    async fn confirmed(
        &mut self,
        channel: &Channel,
        lane: &Lane,
        confirmation: Confirmation,
        backoff: &mut Backoff,
    ) -> anyhow::Result<()> {
        let Some(waiting) = self.lanes.get_mut(lane) else {
            return Ok(());
        };
        match confirmation {
            Confirmation::Ack(None) | Confirmation::NotRequested => {
                *backoff = Backoff::default();
                waiting.unrouted = 0;
                for outgoing in waiting.sent.drain(..) {
                    outgoing.confirm();
                }
                metrics::counter!(names::EVENTS_PUBLISHED, "type" => lane.1.clone()).increment(1);
            }
            Confirmation::Nack(_) => anyhow::bail!("the broker refused {}", lane.1),
            Confirmation::Ack(Some(_)) => {
                // Somebody removed a queue or a binding: declare them again.
                waiting.unrouted += 1;
                tracing::error!(
                    routing_key = lane.1,
                    "no queue took an event; declaring the topology again"
                );
                if waiting.unrouted >= UNROUTED_TRIES {
                    waiting.unrouted = 0;
                    for outgoing in waiting.sent.drain(..) {
                        let _ = outgoing
                            .done
                            .send(Err(PublishError::Unrouted(lane.1.clone())));
                    }
                } else {
                    for outgoing in waiting.sent.drain(..).rev() {
                        waiting.queue.push_front(outgoing);
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    declare(channel).await?;
                }
            }
        }
        Ok(())
    }
}

/// When lanes that are free may set out again.
fn next_after(set_out: Instant, under_way: &FuturesUnordered<Confirm>) -> Instant {
    match under_way.is_empty() {
        true => set_out + APART,
        false => set_out + TOGETHER,
    }
}

/// Hands a broker message over when it is first polled; ready with its confirm. The events
/// of a lane are of one type.
fn publish(
    channel: Channel,
    lane: Lane,
    event: &Event,
    body: Body,
) -> impl Future<Output = (Lane, anyhow::Result<Confirmation>)> + Send + use<> {
    let properties = if event.is_hint() {
        BasicProperties::default().with_content_type(CONTENT_TYPE.into())
    } else {
        persistent()
    };
    let options = BasicPublishOptions {
        mandatory: event.must_be_routed() && !planted::bug(Bug::NoMandatory),
        ..BasicPublishOptions::default()
    };
    async move {
        let (exchange, key) = &lane;
        let (exchange, key) = (exchange.name().into(), key.as_str().into());
        let body = body.finish();
        let confirmation = timeout(ANSWER, async {
            let sent = channel.basic_publish(exchange, key, options, &body, properties);
            sent.await?.await
        });
        let confirmation = match confirmation.await {
            Ok(confirmation) => confirmation.map_err(anyhow::Error::from),
            Err(_) => Err(anyhow::anyhow!("no confirm within {ANSWER:?}")),
        };
        (lane, confirmation)
    }
}
