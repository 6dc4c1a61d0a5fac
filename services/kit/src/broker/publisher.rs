//! Publishing with confirms. Each routing key is a lane with one broker message
//! under way; what arrives meanwhile goes together in the next one. All lanes set
//! out at once, when the last ones have arrived: the broker wakes up, writes and
//! flushes for all of them together. So batches grow with the load, nothing waits
//! at rest, and a repeat after a lost connection cannot change the order within a key.

use chat_events::Recorded;
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Span;

use self::worker::Worker;
use super::Broker;
use crate::trace;

mod waiting;
mod worker;

/// Events that wait in this process before `publish` itself waits.
const WAITING: usize = 4_096;

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

impl Publisher {
    /// The publisher and the task that does its work until `stop`.
    pub fn new(
        broker: Broker,
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (publisher, incoming) = Self::pair(WAITING);
        (publisher, Worker::new(broker, incoming).run(stop))
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
