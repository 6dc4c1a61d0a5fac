//! Declaring again what somebody may have removed by hand: beside the consumers, on a
//! channel of its own, because the broker may take seconds for all of it, and a delivery
//! must not wait.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chat_events::topology::Queue;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::declare::{PodQueue, declare, declare_exchanges, declare_queue};
use super::{ANSWER, Broker};

/// A queue or a binding that somebody removed by hand is back within this. No publisher
/// misses it as long as another queue takes the event.
pub(super) const DECLARE_AGAIN: Duration = Duration::from_secs(8);

/// Works until it is dropped, or until the broker ends its channel.
pub(super) struct Keeper(JoinSet<anyhow::Result<Infallible>>);

impl Keeper {
    /// Keeps a durable queue.
    pub fn of_queue(broker: &Broker, queue: &Queue) -> Self {
        let (broker, queue) = (broker.clone(), queue.clone());
        Self::spawn(async move {
            let channel = broker.channel().await;
            loop {
                rest().await;
                timeout(ANSWER, declare_exchanges(&channel)).await??;
                timeout(ANSWER, declare_queue(&channel, &queue)).await??;
            }
        })
    }

    /// Keeps the whole topology and a pod's own queue, and tells when that was full.
    pub fn of_pod(broker: &Broker, queue: &Arc<PodQueue>, full: &Arc<Notify>) -> Self {
        let (broker, queue, full) = (broker.clone(), queue.clone(), full.clone());
        Self::spawn(async move {
            let channel = broker.channel().await;
            loop {
                rest().await;
                // All of it, before our own binding: an event that only we hear of would
                // count as routed.
                timeout(2 * ANSWER, declare(&channel)).await??;
                timeout(ANSWER, queue.bind(&channel)).await??;
                if timeout(ANSWER, queue.has_overflowed(&channel)).await?? {
                    full.notify_one();
                }
            }
        })
    }

    fn spawn(work: impl Future<Output = anyhow::Result<Infallible>> + Send + 'static) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(work);
        Self(tasks)
    }

    /// Why it ended; waits as long as it works.
    pub async fn ended(&mut self) -> anyhow::Error {
        match self.0.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.into(),
            None => anyhow::anyhow!("nothing is declared again"),
        }
    }
}

/// Not all at the same moment.
async fn rest() {
    sleep(DECLARE_AGAIN.mul_f64(rand::random_range(0.5..1.0))).await;
}
