//! Publishing with confirms. Each routing key is a lane with one broker message
//! under way; what arrives meanwhile goes together in the next one. All lanes set
//! out at once, when the last ones have arrived: the broker wakes up, writes and
//! flushes for all of them together. So batches grow with the load, nothing waits
//! at rest, and a repeat after a lost connection cannot change the order within a key.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::time::Duration;

use chat_events::topology::Exchange;
use chat_events::{Event, Recorded, limits};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::{ANSWER, Backoff, Body, Broker, declare, persistent};
use crate::planted::{self, Bug};
use crate::{metrics as names, trace};

/// Events that wait in this process before `publish` itself waits.
const WAITING: usize = 4_096;
const LOOK: Duration = Duration::from_secs(1);
/// A queue that is slower than this is waited for by its own lane only.
const TOGETHER: Duration = Duration::from_millis(10);
/// An event that no queue takes is tried this often before its publisher is told.
const UNROUTED_TRIES: u32 = 5;

/// The event is not on the broker.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("no queue takes {0}")]
    Unrouted(String),
    #[error("this process is stopping")]
    Stopping,
    #[error("too many events wait for the broker")]
    Full,
}

/// Hands events to the broker; cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    outgoing: mpsc::Sender<Outgoing>,
}

/// An event on its way to the broker.
pub struct Outgoing {
    pub event: Recorded,
    done: oneshot::Sender<Result<(), PublishError>>,
    #[expect(dead_code, reason = "dropped with the event, which ends the span")]
    span: Span,
}

impl Outgoing {
    fn new(event: Recorded) -> (Self, oneshot::Receiver<Result<(), PublishError>>) {
        let (done, confirmed) = oneshot::channel();
        let traced = event.trace.as_deref().filter(|_| trace::is_exported());
        let span = traced.map_or_else(Span::none, |trace| {
            let span = tracing::info_span!("publish", trace_id = tracing::field::Empty);
            trace::join(trace, &span);
            span
        });
        (Self { event, done, span }, confirmed)
    }

    /// It waited for the broker so long that it is no longer true.
    fn is_stale(&self, now: Timestamp) -> bool {
        let life = self.event.event.is_true_for();
        life.is_some_and(|life| now.duration_since(self.event.at) > life)
    }

    /// Tells the publisher that the event is safe.
    pub fn confirm(self) {
        // The caller may have given up; the event is safe all the same.
        let _ = self.done.send(Ok(()));
    }
}

type Lane = (Exchange, String);
type Confirm = Pin<Box<dyn Future<Output = (Lane, anyhow::Result<Confirmation>)> + Send>>;

impl Publisher {
    /// The publisher and the task that does its work until `stop`.
    pub fn new(
        broker: Broker,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (publisher, incoming) = Self::pair(WAITING);
        let worker = Worker {
            broker,
            incoming,
            lanes: HashMap::new(),
        };
        (publisher, worker.run(stop))
    }

    /// The publisher without a broker: somebody else takes what it hands over.
    pub fn pair(waiting: usize) -> (Self, mpsc::Receiver<Outgoing>) {
        let (outgoing, incoming) = mpsc::channel(waiting);
        (Self { outgoing }, incoming)
    }

    /// Hands an event over without waiting, so that the order of the calls is
    /// the order within a routing key. What is returned waits for the confirm,
    /// as [`Publisher::publish`] does.
    pub fn enqueue(
        &self,
        event: Recorded,
    ) -> Result<impl Future<Output = Result<(), PublishError>> + Send + use<>, PublishError> {
        let (outgoing, confirmed) = Outgoing::new(event);
        self.outgoing
            .try_send(outgoing)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => PublishError::Full,
                mpsc::error::TrySendError::Closed(_) => PublishError::Stopping,
            })?;
        Ok(async move { confirmed.await.map_err(|_| PublishError::Stopping)? })
    }

    /// Returns when the broker has the event safely in every queue that wants
    /// it. Waits while the broker is away: give it a time limit where somebody
    /// waits for the answer. An event given up by its caller may still arrive.
    pub async fn publish(&self, event: Recorded) -> Result<(), PublishError> {
        let (outgoing, confirmed) = Outgoing::new(event);
        self.outgoing
            .send(outgoing)
            .await
            .map_err(|_| PublishError::Stopping)?;
        confirmed.await.map_err(|_| PublishError::Stopping)?
    }

    /// Publishes all of them, in order; returns when the last is safe.
    pub async fn publish_all(&self, events: Vec<Recorded>) -> Result<(), PublishError> {
        let mut confirmed = Vec::with_capacity(events.len());
        for event in events {
            let (outgoing, confirm) = Outgoing::new(event);
            self.outgoing
                .send(outgoing)
                .await
                .map_err(|_| PublishError::Stopping)?;
            confirmed.push(confirm);
        }
        for confirm in confirmed {
            confirm.await.map_err(|_| PublishError::Stopping)??;
        }
        Ok(())
    }

    /// Publishes without waiting, and not at all when too much waits already.
    /// For hints only.
    pub fn hint(&self, event: Recorded) {
        let (outgoing, _) = Outgoing::new(event);
        let _ = self.outgoing.try_send(outgoing);
    }
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Outgoing>,
    /// The events of the broker message under way.
    sent: Vec<Outgoing>,
    unrouted: u32,
}

impl Waiting {
    fn len(&self) -> usize {
        self.queue.len() + self.sent.len()
    }

    /// Moves what goes together from the queue to what is under way.
    fn next(&mut self) -> serde_json::Result<Option<Body>> {
        let mut body = Body::default();
        let now = Timestamp::now();
        while self.sent.len() < limits::BATCH_EVENTS && body.len() < limits::BATCH {
            let Some(outgoing) = self.queue.pop_front() else {
                break;
            };
            if !outgoing.is_stale(now) {
                body.push(&outgoing.event)?;
                self.sent.push(outgoing);
            }
        }
        Ok((!self.sent.is_empty()).then_some(body))
    }
}

struct Worker {
    broker: Broker,
    incoming: mpsc::Receiver<Outgoing>,
    lanes: HashMap<Lane, Waiting>,
}

impl Worker {
    async fn run(mut self, stop: CancellationToken) {
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
        let mut apart = Instant::now();
        loop {
            if (confirms.is_empty() || apart <= Instant::now())
                && self.send(channel, &mut confirms)?
            {
                apart = Instant::now() + TOGETHER;
            }
            let waiting: usize = self.lanes.values().map(Waiting::len).sum();
            let free = self.lanes.values().any(|lane| lane.sent.is_empty());
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
                () = sleep_until(apart), if free => {}
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

/// Hands a broker message over when it is first polled; ready with its confirm. The events
/// of a lane are of one type.
fn publish(
    channel: Channel,
    lane: Lane,
    event: &Event,
    body: Body,
) -> impl Future<Output = (Lane, anyhow::Result<Confirmation>)> + Send + use<> {
    let properties = if event.is_hint() {
        BasicProperties::default().with_content_type(super::CONTENT_TYPE.into())
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

#[cfg(test)]
mod tests {
    use chat_events::limits::TYPING_INTERVAL;
    use chat_events::{ConversationId, Event, Recorded, Typing, UserId};

    use super::Outgoing;

    #[test]
    fn typing_is_not_told_any_more_when_the_broker_was_away_for_longer_than_it_lasts() {
        let typing = |active| {
            let (conversation_id, user_id) = (ConversationId::generate(), UserId::generate());
            let event = Event::Typing(Typing {
                conversation_id,
                user_id,
                active,
            });
            Outgoing::new(Recorded::new(event, None)).0
        };
        for outgoing in [true, false].map(typing) {
            let at = outgoing.event.at;
            assert!(!outgoing.is_stale(at + TYPING_INTERVAL));
            assert!(outgoing.is_stale(at + 2 * TYPING_INTERVAL));
        }
        let message = Event::UserDeleted {
            user_id: UserId::generate(),
        };
        let (message, _) = Outgoing::new(Recorded::new(message, None));
        assert!(!message.is_stale(message.event.at + 1_000 * TYPING_INTERVAL));
    }
}
