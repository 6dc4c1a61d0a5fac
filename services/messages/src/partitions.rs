//! Which partitions this replica consumes. Leases in the database spread the
//! twelve queues evenly over the live replicas, because a single active
//! consumer alone gives all of them to the replica that came first.

mod leases;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chat_events::limits::PARTITIONS;
use chat_events::topology;
use chat_kit::broker::Broker;
use chat_kit::config::PgArgs;
use chat_kit::{metrics as names, pg};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::leases::Leases;
use crate::lease::Lease;
use crate::writer::Writer;

/// Others take a partition over when its owner was silent for this long.
const LEASE: Duration = Duration::from_secs(4);
/// With this, a killed replica's partitions have a new owner within 5 s.
const LOOK: Duration = Duration::from_millis(700);
/// A round that takes longer is given up; the next one begins.
const ROUND: Duration = Duration::from_secs(2);
/// Broker messages that are handled together; the broker has twice as many on
/// the way. A message holds one event at rest and up to 64 under load.
const BATCH: usize = 128;

struct Held {
    lease: Lease,
    consumer: Id,
}

pub struct Partitions {
    leases: Leases,
    consumers: Broker,
    writer: Writer,
    pod: String,
    held: HashMap<u16, Held>,
    running: JoinSet<()>,
    /// When the round began that last renewed all leases.
    renewed: Instant,
    /// Whether the last round worked, so that an outage is one line in the log.
    well: bool,
}

impl Partitions {
    pub fn new(args: &PgArgs, pod: String, consumers: Broker, writer: Writer) -> Self {
        // A connection of its own: a busy pool must not cost us the leases.
        let one = PgArgs {
            db_pool: 1,
            ..args.clone()
        };
        let pool = pg::pool(&one, &[]);
        Self {
            leases: Leases::new(pool, pod.clone()),
            consumers,
            writer,
            pod,
            held: HashMap::new(),
            running: JoinSet::new(),
            renewed: Instant::now(),
            well: true,
        }
    }

    /// Consumes a fair share until `stop`, then finishes the batches in hand,
    /// and hands every partition over.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut leaving = false;
        while !(leaving && self.running.is_empty()) {
            tokio::select! {
                () = stop.cancelled(), if !leaving => {
                    leaving = true;
                    for held in self.held.values() {
                        held.lease.stop.cancel();
                    }
                }
                _ = look.tick() => self.look(leaving).await,
                Some(ended) = self.running.join_next_with_id() => self.ended(ended).await,
            }
        }
        if let Err(error) = timeout(ROUND, self.leases.leave()).await {
            tracing::warn!(error = %error, "this replica's row stays until it expires");
        }
    }

    async fn look(&mut self, leaving: bool) {
        let began = Instant::now();
        let outcome = match timeout(ROUND, self.round(leaving)).await {
            Ok(outcome) => outcome.map_err(anyhow::Error::from),
            Err(_) => Err(anyhow::anyhow!("no answer within {ROUND:?}")),
        };
        match outcome {
            Ok(()) => {
                self.renewed = began;
                self.well = true;
            }
            Err(error) if self.well => {
                self.well = false;
                tracing::warn!(error = format!("{error:#}"), "cannot renew the partitions");
            }
            Err(_) => {}
        }
        // By now another replica may have them.
        if self.renewed.elapsed() > LEASE {
            for held in self.held.values() {
                held.lease.stop.cancel();
            }
        }
        metrics::gauge!(names::PARTITIONS).set(self.held.len() as f64);
    }

    async fn round(&mut self, leaving: bool) -> sqlx::Result<()> {
        let kept = self
            .leases
            .renew(self.held.values().map(|held| &held.lease), LEASE)
            .await?;
        for held in self.held.values() {
            let partition = held.lease.partition;
            if !kept.contains(&partition) && !held.lease.stop.is_cancelled() {
                tracing::warn!(partition, "lost a partition to another replica");
                held.lease.stop.cancel();
            }
        }
        if leaving {
            return self.leases.leave().await;
        }
        let replicas = self.leases.beat(LEASE).await?;
        let share = share(&replicas, &self.pod);
        let mut active: Vec<&Lease> = self
            .held
            .values()
            .map(|held| &held.lease)
            .filter(|lease| !lease.stop.is_cancelled())
            .collect();
        if active.len() > share {
            active.sort_unstable_by_key(|lease| lease.partition);
            for surplus in &active[share..] {
                surplus.stop.cancel();
            }
        } else if self.held.len() < share {
            let wanted = share - self.held.len();
            let mine: Vec<u16> = self.held.keys().copied().collect();
            for (partition, fence) in self.leases.claim(&mine, wanted, LEASE).await? {
                self.consume(partition, fence);
            }
        }
        Ok(())
    }

    fn consume(&mut self, partition: u16, fence: i64) {
        let lease = Lease {
            partition,
            fence,
            stop: CancellationToken::new(),
        };
        tracing::info!(partition, fence, "consuming a partition");
        let (consumers, writer) = (self.consumers.clone(), self.writer.clone());
        let task = lease.clone();
        let consumer = self
            .running
            .spawn(async move {
                let queue = topology::partition_queue(task.partition);
                consumers
                    .consume(&queue, BATCH, &task.stop, |events| {
                        let (writer, lease) = (writer.clone(), task.clone());
                        async move { writer.handle(&lease, events).await }
                    })
                    .await;
            })
            .id();
        self.held.insert(partition, Held { lease, consumer });
    }

    /// The channel is closed: now another replica may have the partition.
    async fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(error = %error, "a consumer broke off");
                error.id()
            }
        };
        let partition = self
            .held
            .iter()
            .find_map(|(partition, held)| (held.consumer == id).then_some(*partition));
        let Some(held) = partition.and_then(|partition| self.held.remove(&partition)) else {
            return;
        };
        tracing::info!(partition = held.lease.partition, "left a partition");
        match timeout(ROUND, self.leases.release(&held.lease)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %error, "a lease stays until it expires"),
            Err(_) => tracing::warn!("a lease stays until it expires"),
        }
    }
}

/// How many partitions `pod` is to have: all are given out, and no two
/// replicas differ by more than one.
fn share(replicas: &[String], pod: &str) -> usize {
    let all = usize::from(PARTITIONS);
    let rank = replicas.iter().filter(|other| other.as_str() < pod).count();
    let count = replicas.len().max(1);
    all / count + usize::from(rank < all % count)
}

#[cfg(test)]
mod tests {
    use super::share;
    use chat_events::limits::PARTITIONS;

    #[test]
    fn shares_are_even_and_cover_every_partition() {
        for count in 1..=20 {
            let replicas: Vec<String> = (0..count).map(|n| format!("pod-{n:02}")).collect();
            let shares: Vec<usize> = replicas.iter().map(|pod| share(&replicas, pod)).collect();
            assert_eq!(shares.iter().sum::<usize>(), usize::from(PARTITIONS));
            let (least, most) = (shares.iter().min(), shares.iter().max());
            assert!(
                most.zip(least)
                    .is_some_and(|(most, least)| most - least <= 1)
            );
        }
    }
}
