//! Servers of our own for a measurement: stores with their default safety, and the
//! services as release binaries from beside this program.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use chat_e2e::Chat;
use chat_e2e::history::Recorder;
use chat_e2e::load::counters::Counters;
use chat_e2e::load::usage::Parts;
use chat_local::StackOptions;
use chat_local::testing::{OwnStores, own_stores};
use tokio::time::sleep;

const REST: Duration = Duration::from_secs(4);

pub struct Stage {
    // Dropped in this order.
    pub chat: Chat,
    pub stores: OwnStores,
    pub parts: Parts,
    pub recorder: Recorder,
    pub history: PathBuf,
}

impl Stage {
    /// So many pods of each service, with the settings that they have without any.
    pub async fn start(replicas: usize) -> anyhow::Result<Self> {
        Self::start_with(|options| options.replicas = replicas).await
    }

    pub async fn start_with(change: impl FnOnce(&mut StackOptions)) -> anyhow::Result<Self> {
        eprintln!("starting PostgreSQL, RabbitMQ, Redis and the services");
        let (stores, cluster) = own_stores().await;
        Counters::prepare(&stores).await?;
        let chat = Chat::start(cluster, change)
            .await
            .context("the services do not start")?;
        let parts = Parts::of(&chat, &stores).await?;
        let name = format!("chat-bench-{}.jsonl", std::process::id());
        let history = std::env::temp_dir().join(name);
        Ok(Self {
            recorder: Recorder::create(&history)?,
            chat,
            stores,
            parts,
            history,
        })
    }

    /// What all servers take in a second in which nobody says anything, in microseconds.
    pub async fn at_rest(&self) -> anyhow::Result<f64> {
        let before = self.parts.read()?;
        sleep(REST).await;
        let spent = before.until(&self.parts.read()?);
        Ok(spent.total() / spent.seconds)
    }

    pub async fn counters(&self) -> anyhow::Result<Counters> {
        Counters::read(&self.chat, &self.stores).await
    }
}
