//! The hand of the nemesis.

use std::sync::Mutex;
use std::time::Duration;

use chat_local::daemon::Daemon;
use chat_local::{Stores, StoresHandle};
use futures::future::try_join_all;
use tokio::time::{Instant, sleep, sleep_until};

use super::ways::wrong;
use super::{Fault, Strike, Target, Ways};
use crate::history::{Kind, Recorder};
use crate::{Chat, await_until};

/// A component that is started again answers by then, whatever else is broken.
const BACK: Duration = Duration::from_secs(120);
/// Connections are reset so often.
const AGAIN: Duration = Duration::from_millis(300);
const NO_MEMORY: [&str; 3] = ["set_vm_memory_high_watermark", "absolute", "1MB"];
const MEMORY: [&str; 2] = ["set_vm_memory_high_watermark", "0.4"];

/// What was done in the end. Times are microseconds of the history.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    pub strike: Strike,
    /// The component was started again, or let go on.
    pub let_go: u64,
}

pub struct Nemesis {
    daemons: Vec<(Target, Daemon)>,
    ways: Ways,
    stores: StoresHandle,
    recorder: Recorder,
    struck: Mutex<Vec<Struck>>,
}

impl Nemesis {
    pub fn new(chat: &Chat, stores: &Stores, ways: Ways, recorder: &Recorder) -> Self {
        let pods = chat.pods().iter().map(|pod| {
            let place = pod.place();
            let target = Target::Pod(place.service, place.replica);
            (target, Daemon::clone(pod))
        });
        let servers = [
            (Target::PostgreSql, stores.postgres.clone()),
            (Target::RabbitMq, stores.rabbitmq.clone()),
            (Target::Redis, stores.redis.clone()),
            (Target::Nginx, chat.nginx().clone()),
        ];
        Self {
            daemons: pods.chain(servers).collect(),
            ways,
            stores: stores.handle(),
            recorder: recorder.clone(),
            struck: Mutex::default(),
        }
    }

    /// Strikes as the schedule says. What does not overlap in it does not overlap here
    /// either: a strike waits until those before it have healed, and all that follow
    /// are as late as it is.
    ///
    /// # Errors
    /// When a component does not come back.
    pub async fn strike(&self, schedule: &[Strike]) -> anyhow::Result<()> {
        let mut start = Instant::now();
        for group in schedule.chunk_by(|one, next| next.at_ms < one.end_ms()) {
            let first = group[0].at();
            let begin = Instant::now().max(start + first);
            start = begin - first;
            sleep_until(begin).await;
            try_join_all(group.iter().map(|strike| async move {
                sleep_until(begin + (strike.at() - first)).await;
                self.one(*strike).await
            }))
            .await?;
        }
        Ok(())
    }

    /// So far.
    pub fn struck(&self) -> Vec<Struck> {
        self.done().clone()
    }

    /// Waits until every component answers.
    pub async fn heal(&self) -> anyhow::Result<()> {
        try_join_all(self.daemons.iter().map(|(_, daemon)| bring_back(daemon))).await?;
        Ok(())
    }

    async fn one(&self, strike: Strike) -> anyhow::Result<()> {
        let Some((_, daemon)) = self
            .daemons
            .iter()
            .find(|(target, _)| *target == strike.target)
        else {
            anyhow::bail!("this chat has no {}", strike.target);
        };
        let what = strike.to_string();
        self.recorder.fault(&what, Kind::Invoke);
        let let_go = match strike.fault {
            Fault::Kill => {
                daemon.kill().await?;
                self.after(&strike).await
            }
            Fault::Restart => {
                daemon.stop().await?;
                self.after(&strike).await
            }
            Fault::Freeze => {
                daemon.pause().await;
                let let_go = self.after(&strike).await;
                daemon.resume().await;
                let_go
            }
            Fault::Alarm => {
                self.stores.rabbitmqctl(&NO_MEMORY).await?;
                let let_go = self.after(&strike).await;
                await_until("the end of an alarm", BACK, async || {
                    self.stores.rabbitmqctl(&MEMORY).await.map(Some)
                })
                .await?;
                let_go
            }
            Fault::Reset => {
                let end = Instant::now() + strike.length();
                while Instant::now() < end {
                    self.ways.to(strike.target)?.reset();
                    sleep(AGAIN).await;
                }
                self.recorder.now()
            }
            Fault::Slow
            | Fault::Narrow
            | Fault::Deaf
            | Fault::Mute
            | Fault::Cut
            | Fault::Repeat => {
                let way = self.ways.to(strike.target)?;
                way.set(wrong(strike.fault, strike.at_ms));
                let let_go = self.after(&strike).await;
                way.heal();
                let_go
            }
        };
        bring_back(daemon).await?;
        self.recorder.fault(&what, Kind::Ok);
        self.done().push(Struck { strike, let_go });
        Ok(())
    }

    /// When the strike has lasted as long as it should.
    async fn after(&self, strike: &Strike) -> u64 {
        sleep(strike.length()).await;
        self.recorder.now()
    }

    fn done(&self) -> std::sync::MutexGuard<'_, Vec<Struck>> {
        self.struck
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A pod that finds its dependency struck may end at its start; then it begins anew.
async fn bring_back(daemon: &Daemon) -> anyhow::Result<()> {
    let what = format!("{} answers again", daemon.name());
    await_until(&what, BACK, async || daemon.start().await.map(Some)).await
}
