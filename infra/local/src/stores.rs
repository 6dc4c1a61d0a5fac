//! Private PostgreSQL, RabbitMQ and Redis in one folder.

mod peer;
mod postgres;
mod rabbitmq;
mod redis_server;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};

use crate::daemon::Daemon;
use crate::{ports, space};

pub use peer::Peer;

/// The three servers. Each can be stopped, killed, paused and started again on
/// the same port with the same data. Dropping them kills them.
#[derive(Debug)]
pub struct Stores {
    pub postgres: Daemon,
    pub rabbitmq: Daemon,
    pub redis: Daemon,
    /// Erlang's name server, which would otherwise be started outside our care.
    epmd: Daemon,
    handle: StoresHandle,
}

/// Where the servers listen and how to get in as their administrator: all that
/// another process needs to use them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoresHandle {
    pub folder: PathBuf,
    pub postgres_port: u16,
    pub rabbitmq_port: u16,
    pub rabbitmq_http_port: u16,
    /// RabbitMQ's data belong to a node of this name, whatever its ports are.
    #[serde(default)]
    rabbitmq_node: String,
    rabbitmq_dist_port: u16,
    epmd_port: u16,
    pub redis_port: u16,
    /// One generated password for the administrator of all three.
    pub password: String,
}

const ADVICE: &str = "If its data is damaged, `cargo xtask up --fresh` starts empty.";

/// The administrator's name in PostgreSQL and RabbitMQ.
pub const ADMIN: &str = "admin";

impl Stores {
    /// Starts the three servers in the folder, with the data that is there.
    pub async fn start(folder: &Path) -> Result<Self> {
        let stores = Self::prepare(folder).await?;
        tokio::try_join!(stores.postgres.start(), stores.redis.start(), async {
            stores.epmd.start().await?;
            stores.rabbitmq.start().await
        })?;
        space::write_private(
            &stores.handle.file(),
            serde_json::to_string_pretty(&stores.handle)?,
        )?;
        Ok(stores)
    }

    /// Makes folders, settings and data, and starts nothing yet.
    pub async fn prepare(folder: &Path) -> Result<Self> {
        space::create(folder)?;
        let folder = std::fs::canonicalize(folder)?;
        space::check_free(&folder)?;
        let handle = StoresHandle::of(&folder)?;
        for part in ["run", "logs"] {
            space::create(&folder.join(part))?;
        }
        let stores = Self {
            postgres: postgres::daemon(&handle).await?,
            redis: redis_server::daemon(&handle)?,
            epmd: rabbitmq::epmd(&handle)?,
            rabbitmq: rabbitmq::daemon(&handle)?,
            handle,
        };
        space::write_private(
            &stores.handle.file(),
            serde_json::to_string_pretty(&stores.handle)?,
        )?;
        Ok(stores)
    }

    pub fn handle(&self) -> StoresHandle {
        self.handle.clone()
    }

    /// Stops all three; their data stays.
    pub async fn stop(self) -> Result<()> {
        let (rabbitmq, redis, postgres) = tokio::join!(
            async {
                let stopped = self.rabbitmq.stop().await;
                self.epmd.stop().await.and(stopped)
            },
            self.redis.stop(),
            self.postgres.stop(),
        );
        rabbitmq.and(redis).and(postgres)
    }

    /// Every server, in the order in which they are started.
    pub fn daemons(&self) -> [&Daemon; 4] {
        [&self.postgres, &self.redis, &self.epmd, &self.rabbitmq]
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        for daemon in self.daemons() {
            daemon.kill_now();
        }
    }
}

impl StoresHandle {
    /// The handle that a folder had the last time, or a new one. A port that
    /// somebody else has taken meanwhile is replaced.
    fn of(folder: &Path) -> Result<Self> {
        let file = folder.join("stores.json");
        if !file.exists() {
            return Ok(Self {
                folder: folder.to_owned(),
                postgres_port: ports::free()?,
                rabbitmq_port: ports::free()?,
                rabbitmq_http_port: ports::free()?,
                rabbitmq_node: format!("chat-{}", &new_password()[..8]),
                rabbitmq_dist_port: ports::free()?,
                epmd_port: ports::free()?,
                redis_port: ports::free()?,
                password: new_password(),
            });
        }
        let mut old = Self::read(&file)?;
        folder.clone_into(&mut old.folder);
        if old.rabbitmq_node.is_empty() {
            // Named after its first port, before the name was written down.
            old.rabbitmq_node = format!("chat-{}", old.rabbitmq_port);
        }
        for port in [
            &mut old.postgres_port,
            &mut old.rabbitmq_port,
            &mut old.rabbitmq_http_port,
            &mut old.rabbitmq_dist_port,
            &mut old.epmd_port,
            &mut old.redis_port,
        ] {
            *port = ports::prefer(*port)?;
        }
        Ok(old)
    }

    /// Reads what `Stores::start` wrote.
    pub fn read(file: &Path) -> Result<Self> {
        let content =
            std::fs::read(file).with_context(|| format!("{} cannot be read.", file.display()))?;
        serde_json::from_slice(&content).with_context(|| {
            format!(
                "{} is damaged: remove the folder {} (or use --fresh) to start empty.",
                file.display(),
                file.parent().unwrap_or(file).display()
            )
        })
    }

    /// The file from which another process can read this handle.
    pub fn file(&self) -> PathBuf {
        self.folder.join("stores.json")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.folder.join("run").join(format!("{name}.pid"))
    }
}

/// 32 letters and digits: 190 bits, and nothing that any server would need quoted.
pub fn new_password() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 32)
}
