//! The binary under test, and a look into what it keeps.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chat_events::{Envelope, Event, Recorded, Service};
use chat_local::{Cluster, ports};
use futures::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::process::{Child, Command};

pub const ORIGIN: &str = "http://localhost:8080";
/// No test waits longer than this for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// One replica. Its process ends when it is dropped.
pub struct Auth {
    pub url: String,
    pub admin_url: String,
    child: Child,
    log: std::path::PathBuf,
}

impl Auth {
    /// Migrates, starts and waits until it is ready.
    pub async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        Self::start_with(cluster, &[]).await
    }

    pub async fn start_with(cluster: &Cluster, env: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut auth = Self::launch(cluster, env).await?;
        auth.ready().await?;
        Ok(auth)
    }

    /// Migrates and starts, and does not wait.
    pub async fn launch(cluster: &Cluster, env: &[(&str, &str)]) -> anyhow::Result<Self> {
        let migrated = command(cluster, "migrate", env).output().await?;
        ensure!(migrated.status.success(), "migrate: {migrated:?}");
        let (port, admin_port) = (ports::free()?, ports::free()?);
        let log = std::env::temp_dir().join(format!("auth-{}.log", uuid::Uuid::new_v4()));
        let file = std::fs::File::create(&log)?;
        let child = command(cluster, "serve", env)
            .env("PORT", port.to_string())
            .env("ADMIN_PORT", admin_port.to_string())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Self {
            url: format!("http://127.0.0.1:{port}"),
            admin_url: format!("http://127.0.0.1:{admin_port}"),
            child,
            log,
        })
    }

    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let outcome = until("auth is ready", async || {
            if let Ok(Some(status)) = self.child.try_wait() {
                anyhow::bail!("auth ended: {status}");
            }
            Ok(self
                .readiness()
                .await
                .is_ok_and(|(status, _)| status == 200))
        })
        .await;
        outcome.with_context(|| self.log().unwrap_or_default())
    }

    /// What `/readyz` says.
    pub async fn readiness(&self) -> anyhow::Result<(u16, Value)> {
        let answer = reqwest::get(format!("{}/readyz", self.admin_url)).await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    pub async fn metrics(&self) -> anyhow::Result<String> {
        Ok(reqwest::get(format!("{}/metrics", self.admin_url))
            .await?
            .text()
            .await?)
    }

    /// Everything that it has printed so far.
    pub fn log(&self) -> std::io::Result<String> {
        std::fs::read_to_string(&self.log)
    }

    /// The most memory that its process ever had, in KiB.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let id = self.child.id().context("auth has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        Ok(peak.context("no peak")?.parse()?)
    }

    /// The sessions whose tokens every service refuses.
    pub async fn revoked(&self) -> anyhow::Result<Vec<String>> {
        let list: Value = reqwest::get(format!("{}/internal/revocations", self.url))
            .await?
            .json()
            .await?;
        let sessions = list["revoked"].as_array().context("no list")?;
        Ok(sessions
            .iter()
            .map(|one| one["session_id"].as_str().unwrap_or_default().to_owned())
            .collect())
    }
}

impl Drop for Auth {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let _ = std::fs::remove_file(&self.log);
    }
}

fn command(cluster: &Cluster, subcommand: &str, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auth"));
    command
        .arg(subcommand)
        .envs(cluster.env(Service::Auth))
        .env("HOST", "127.0.0.1")
        .env("PUBLIC_ORIGINS", ORIGIN)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The database of auth, as its administrator sees it.
pub async fn database(cluster: &Cluster) -> anyhow::Result<PgConnection> {
    let options = cluster.stores.postgres(&cluster.role(Service::Auth));
    Ok(PgConnection::connect_with(&options).await?)
}

pub async fn count(cluster: &Cluster, query: &'static str) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(query)
        .fetch_one(&mut database(cluster).await?)
        .await?)
}

pub async fn change(cluster: &Cluster, statement: &'static str) -> anyhow::Result<()> {
    sqlx::query(statement)
        .execute(&mut database(cluster).await?)
        .await?;
    Ok(())
}

/// Hears every user event from now on.
pub struct Listener {
    consumer: lapin::Consumer,
    _connection: Connection,
}

impl Listener {
    pub async fn start(cluster: &Cluster) -> anyhow::Result<Self> {
        let (channel, connection) = connect(cluster).await?;
        let queue = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = channel
            .queue_declare("".into(), queue, FieldTable::default())
            .await?;
        channel
            .queue_bind(
                queue.name().clone(),
                "UserEventsExchange".into(),
                "#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Self::consume(channel, connection, queue.name().as_str()).await
    }

    /// What waits in a durable queue.
    pub async fn of_queue(cluster: &Cluster, queue: &str) -> anyhow::Result<Self> {
        let (channel, connection) = connect(cluster).await?;
        Self::consume(channel, connection, queue).await
    }

    async fn consume(
        channel: Channel,
        connection: Connection,
        queue: &str,
    ) -> anyhow::Result<Self> {
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let consumer = channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await?;
        Ok(Self {
            consumer,
            _connection: connection,
        })
    }

    /// The next broker message's events.
    pub async fn next(&mut self) -> anyhow::Result<Vec<Event>> {
        let delivery = tokio::time::timeout(PATIENCE, self.consumer.next())
            .await
            .context("no event came")?
            .context("the broker has gone")??;
        let envelope: Envelope = serde_json::from_slice(&delivery.data)?;
        Ok(envelope
            .events
            .into_iter()
            .map(|recorded| recorded.event)
            .collect())
    }

    /// The events up to the first that fits.
    pub async fn until(&mut self, fits: impl Fn(&Event) -> bool) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::new();
        while !events.iter().any(&fits) {
            events.extend(self.next().await?);
        }
        Ok(events)
    }
}

/// Says what another service would say of users, in one broker message.
pub async fn publish(cluster: &Cluster, events: Vec<Event>) -> anyhow::Result<()> {
    let (channel, _connection) = connect(cluster).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let key = events.first().context("no event")?.routing_key();
    let recorded = events.into_iter().map(|event| Recorded::new(event, None));
    let body = serde_json::to_vec(&Envelope::new(recorded.collect()))?;
    let mandatory = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let confirmation = channel
        .basic_publish(
            "UserEventsExchange".into(),
            key.into(),
            mandatory,
            &body,
            BasicProperties::default().with_delivery_mode(2),
        )
        .await?
        .await?;
    ensure!(
        matches!(confirmation, Confirmation::Ack(None)),
        "not routed: {confirmation:?}"
    );
    Ok(())
}

async fn connect(cluster: &Cluster) -> anyhow::Result<(Channel, Connection)> {
    let stores = &cluster.stores;
    let uri = format!(
        "amqp://{}:{}@127.0.0.1:{}/{}",
        chat_local::ADMIN,
        stores.password,
        stores.rabbitmq_port,
        cluster.name
    );
    let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
    Ok((connection.create_channel().await?, connection))
}

/// Asks again and again until it is so.
pub async fn until<F: AsyncFnMut() -> anyhow::Result<bool>>(
    what: &str,
    mut is_so: F,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    loop {
        tick.tick().await;
        if is_so().await? {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "in vain: {what}");
    }
}
