//! The one writer of this replica's logs: the batches of all its partitions that wait
//! become one transaction, then the answers are published, then each batch is
//! acknowledged. A crash anywhere repeats steps that give the same answers again, so the
//! inbound queue is the outbox.

mod sequence;
mod store;

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use chat_events::{Event, Recorded, topology};
use chat_kit::broker::{HandleError, Publisher};
use chat_kit::config::PgArgs;
use chat_kit::pg::{self, Session};
use chat_kit::planted::{self, Bug};
use chat_kit::trace;
use futures::FutureExt;
use sqlx::Connection;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use self::sequence::Outcome;
use crate::lease::Lease;

/// Events in one transaction; what came beyond that goes into the next ones.
const TRANSACTION: usize = 256;
/// Transactions begin so far apart: what comes meanwhile costs little in the next one, and
/// much in one of its own. At rest nothing waits.
const APART: Duration = Duration::from_millis(5);
/// Longer without a confirm, and the batch is done again.
const CONFIRM: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

struct Inner {
    publisher: Publisher,
    pod: String,
    waiting: std::sync::Mutex<VecDeque<Batch>>,
    /// Whoever has it writes for all who wait.
    turn: Mutex<Turn>,
}

struct Turn {
    session: Session,
    /// No transaction begins before.
    next: Instant,
}

/// Events of one partition, in their order.
struct Batch {
    lease: Lease,
    events: Arc<[Recorded]>,
    range: Range<usize>,
    done: oneshot::Sender<Result<(), HandleError>>,
}

impl Batch {
    fn events(&self) -> &[Recorded] {
        &self.events[self.range.clone()]
    }

    fn end(self, outcome: Result<(), HandleError>) {
        // Fails only when nobody waits any more.
        let _ = self.done.send(outcome);
    }
}

impl Writer {
    pub fn new(args: &PgArgs, publisher: Publisher, pod: String) -> Self {
        Self {
            inner: Arc::new(Inner {
                publisher,
                pod,
                waiting: std::sync::Mutex::default(),
                turn: Mutex::new(Turn {
                    session: Session::new(args, &[&pg::BY_KEY[..], &[store::FROZEN]].concat()),
                    next: Instant::now(),
                }),
            }),
        }
    }

    /// Stores and answers a batch. When this returns `Ok`, everything is
    /// committed and every answer is safe on the broker.
    pub async fn handle(
        &self,
        lease: &Lease,
        mut events: Arc<[Recorded]>,
    ) -> Result<(), HandleError> {
        belong(lease.partition, &events)?;
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
            for from in (0..events.len()).step_by(TRANSACTION) {
                let range = from..events.len().min(from + TRANSACTION);
                self.inner.join(lease, events.clone(), range).await?;
            }
            Ok(())
        };
        trace::within(traceparent, span, work).await
    }
}

impl Inner {
    /// Waits until somebody has written the batch, or writes it with all others that wait.
    async fn join(
        &self,
        lease: &Lease,
        events: Arc<[Recorded]>,
        range: Range<usize>,
    ) -> Result<(), HandleError> {
        let (done, mut mine) = oneshot::channel();
        self.waiting().push_back(Batch {
            lease: lease.clone(),
            events,
            range,
            done,
        });
        let written = loop {
            tokio::select! {
                biased;
                written = &mut mine => break written,
                mut turn = self.turn.lock() => {
                    if self.waiting().is_empty() {
                        // Somebody has stored ours, and is about to answer.
                        drop(turn);
                        break mine.await;
                    }
                    sleep_until(turn.next).await;
                    turn.next = Instant::now() + APART;
                    let batches = together(&mut self.waiting());
                    let stored = self.store(&mut turn.session, batches).await;
                    // The next ones are written while these are answered.
                    drop(turn);
                    self.answer(stored).await;
                }
            }
        };
        written.unwrap_or_else(|_| Err(HandleError::Unavailable(anyhow!("nobody wrote the batch"))))
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Batch>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what cannot be stored; returns the rest with the answers to it.
    async fn store(
        &self,
        session: &mut Session,
        batches: Vec<Batch>,
    ) -> (Vec<Batch>, Vec<Recorded>) {
        let (mut stored, mut answers) = (Vec::new(), Vec::new());
        let mut rounds = VecDeque::from([batches]);
        while let Some(round) = rounds.pop_front() {
            let written = AssertUnwindSafe(self.transaction(session, &round)).catch_unwind();
            let panicked = |_| Err(sqlx::Error::Configuration("the writer panicked".into()));
            match written.await.unwrap_or_else(panicked) {
                Ok((owned, outcome)) => {
                    tracing::debug!(
                        partitions = round.len(),
                        messages = outcome.messages.len(),
                        reads = outcome.reads.len(),
                        answers = outcome.answers.len(),
                        "stored"
                    );
                    answers.extend(outcome.answers);
                    for batch in round {
                        if owned.contains(&batch.lease.key()) {
                            stored.push(batch);
                        } else {
                            batch.lease.stop.cancel();
                            let partition = batch.lease.partition;
                            let error = anyhow!("partition {partition} has another owner by now");
                            batch.end(Err(HandleError::Unavailable(error)));
                        }
                    }
                }
                Err(error) => {
                    session.lose();
                    let away = pg::is_unavailable(&error);
                    let answered = !away || error.as_database_error().is_some();
                    if answered && round.len() > 1 {
                        // One of them is at fault, and must not hold up the others.
                        tracing::warn!(error = %error, "storing the batch of each partition alone");
                        rounds.extend(round.into_iter().map(|batch| vec![batch]));
                        continue;
                    }
                    let mut failed = round;
                    if away {
                        // Not one time limit after the other.
                        failed.extend(rounds.drain(..).flatten());
                    }
                    for batch in failed {
                        batch.end(Err(HandleError::of(&error)));
                    }
                }
            }
        }
        (stored, answers)
    }

    /// Commits what is of a partition that is still ours; returns the leases that are.
    async fn transaction(
        &self,
        session: &mut Session,
        batches: &[Batch],
    ) -> sqlx::Result<(HashSet<(u16, i64)>, Outcome)> {
        let mut transaction = session.get().await?.begin().await?;
        let leases: Vec<&Lease> = batches.iter().map(|batch| &batch.lease).collect();
        let events = || batches.iter().flat_map(Batch::events);
        let (owned, mut logs) = store::lock(&mut transaction, &self.pod, &leases, events()).await?;
        let events: Vec<&Recorded> = batches
            .iter()
            .filter(|batch| owned.contains(&batch.lease.key()))
            .flat_map(Batch::events)
            .collect();
        store::read(&mut transaction, &events, &mut logs).await?;
        let outcome = sequence::sequence(events, &mut logs);
        store::write(&mut transaction, &outcome).await?;
        transaction.commit().await?;
        Ok((owned, outcome))
    }

    async fn answer(&self, (batches, answers): (Vec<Batch>, Vec<Recorded>)) {
        let published = match timeout(CONFIRM, self.publisher.publish_all(answers)).await {
            Ok(published) => published.map_err(anyhow::Error::from),
            Err(_) => Err(anyhow!("the answers were not confirmed within {CONFIRM:?}")),
        };
        for batch in batches {
            batch.end(match &published {
                Ok(()) => Ok(()),
                Err(error) => Err(HandleError::Unavailable(anyhow!("{error:#}"))),
            });
        }
    }
}

/// The oldest batches, as many as fit into one transaction.
fn together(waiting: &mut VecDeque<Batch>) -> Vec<Batch> {
    let mut room = TRANSACTION;
    let fit = waiting.iter().take_while(|batch| {
        let fits = batch.range.len() <= room;
        room = room.saturating_sub(batch.range.len());
        fits
    });
    let count = fit.count();
    waiting.drain(..count).collect()
}

/// Whether the events are such as wait in the queue of the partition.
fn belong(partition: u16, events: &[Recorded]) -> Result<(), HandleError> {
    for recorded in events {
        let Some(conversation) = store::conversation(&recorded.event) else {
            let key = recorded.event.routing_key();
            return Err(HandleError::Failed(anyhow!("unexpected {key}")));
        };
        if topology::partition(conversation) != partition {
            return Err(HandleError::Failed(anyhow!(
                "conversation {conversation} is not of partition {partition}"
            )));
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use tokio::sync::oneshot;
    use tokio_util::sync::CancellationToken;

    use super::{Batch, TRANSACTION, together};
    use crate::lease::Lease;

    fn batch(partition: u16, events: usize) -> Batch {
        Batch {
            lease: Lease {
                partition,
                fence: 1,
                stop: CancellationToken::new(),
            },
            events: Arc::new([]),
            range: 0..events,
            done: oneshot::channel().0,
        }
    }

    #[test]
    fn the_oldest_batches_are_written_together_as_far_as_they_fit() {
        let sizes = [TRANSACTION, 1, TRANSACTION - 1, 1, 1];
        let mut waiting: VecDeque<Batch> = (0..).zip(sizes).map(|(at, of)| batch(at, of)).collect();
        let mut rounds = Vec::new();
        while !waiting.is_empty() {
            let round = together(&mut waiting);
            rounds.push(
                round
                    .iter()
                    .map(|one| one.lease.partition)
                    .collect::<Vec<_>>(),
            );
        }
        assert_eq!(rounds, [vec![0], vec![1, 2], vec![3, 4]]);
    }
}
