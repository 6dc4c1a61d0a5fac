//! Pods of socket-handler, their neighbours, and the broker as messages sees it.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chat_events::{
    ClientId, ConversationId, Event, LogEvent, MessageId, MessageView, Recorded, Service, UserId,
    limits, topology,
};
use chat_kit::broker::{Broker, Publisher};
use chat_kit::config::BrokerArgs;
use chat_kit::health::Readiness;
use chat_local::testing::{self, OwnStores, TestCluster};
use jiff::Timestamp;
use reqwest::StatusCode;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::neighbours::{Neighbours, Person};
use crate::socket::Socket;

pub const ORIGIN: &str = "http://localhost:8080";
const PATIENCE: Duration = Duration::from_secs(20);

pub struct World {
    pub cluster: TestCluster,
    pub neighbours: Arc<Neighbours>,
    publisher: Publisher,
    taken: Mutex<mpsc::Receiver<Recorded>>,
    _stop: DropGuard,
}

impl World {
    pub async fn new() -> anyhow::Result<Self> {
        Self::with(testing::cluster().await).await
    }

    /// With stores that the test may stop.
    pub async fn with_own_stores() -> anyhow::Result<(OwnStores, Self)> {
        let (stores, cluster) = testing::own_stores().await;
        Ok((stores, Self::with(cluster).await?))
    }

    async fn with(cluster: TestCluster) -> anyhow::Result<Self> {
        let neighbours = Neighbours::start(&cluster.name).await?;
        let args = broker_args(&cluster, Service::Messages)?;
        let stop = CancellationToken::new();
        let part = Readiness::default().part("test");
        let broker = Broker::new(&args, "test".into(), part.clone());
        let (publisher, work) = Publisher::new(broker.clone(), stop.clone());
        tokio::spawn(work);
        let (give, taken) = mpsc::channel(10_000);
        for partition in 0..limits::PARTITIONS {
            let (broker, give, stop) = (broker.clone(), give.clone(), stop.clone());
            tokio::spawn(async move {
                let queue = topology::partition_queue(partition);
                broker
                    .consume(&queue, 64, &stop, async |events: Arc<[Recorded]>| {
                        for event in events.iter() {
                            let _ = give.try_send(event.clone());
                        }
                        Ok(())
                    })
                    .await;
            });
        }
        Ok(Self {
            cluster,
            neighbours,
            publisher,
            taken: Mutex::new(taken),
            _stop: stop.drop_guard(),
        })
    }

    pub async fn pod(&self) -> anyhow::Result<Pod> {
        self.pod_with(&[]).await
    }

    /// A pod that is ready.
    pub async fn pod_with(&self, settings: &[(&str, &str)]) -> anyhow::Result<Pod> {
        let (port, admin) = (chat_local::ports::free()?, chat_local::ports::free()?);
        let log = if std::env::var_os("TEST_LOG").is_some() {
            Stdio::inherit()
        } else {
            Stdio::null()
        };
        let process = Command::new(env!("CARGO_BIN_EXE_socket-handler"))
            .arg("serve")
            .envs(self.cluster.env(Service::SocketHandler))
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .env("ADMIN_PORT", admin.to_string())
            .env("PUBLIC_ORIGINS", ORIGIN)
            .env("LOG", "info,chat_kit=debug,socket_handler=debug")
            .env("AUTH_URL", &self.neighbours.url)
            .env("MESSAGES_URL", &self.neighbours.url)
            .env("USERS_URL", &self.neighbours.url)
            .envs(settings.iter().copied())
            .stdout(log)
            .kill_on_drop(true)
            .spawn()?;
        let pod = Pod {
            process,
            url: format!("http://127.0.0.1:{port}"),
            admin: format!("http://127.0.0.1:{admin}"),
        };
        until("the pod is ready", async || pod.is_ready().await).await?;
        Ok(pod)
    }

    pub async fn socket(&self, pod: &Pod, person: &Person) -> anyhow::Result<Socket> {
        let token = self.neighbours.token(person)?;
        let mut socket = Socket::open(&pod.url, "/ws/chat", Some(&token), Some(ORIGIN))
            .await
            .map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        let hello = socket.frame().await?;
        anyhow::ensure!(hello["type"] == "hello", "{hello}");
        Ok(socket)
    }

    /// The next event that pods gave to messages.
    pub async fn taken(&self) -> anyhow::Result<Recorded> {
        let mut taken = self.taken.lock().await;
        let next = timeout(PATIENCE, taken.recv()).await;
        next.context("no event arrived")?
            .context("the broker's consumer ended")
    }

    pub async fn nothing_was_taken(&self) -> bool {
        self.taken.lock().await.try_recv().is_err()
    }

    pub async fn publish(&self, event: Event) -> anyhow::Result<()> {
        self.publisher.publish(Recorded::new(event, None)).await?;
        Ok(())
    }

    /// Stores a message as the messages service does, and publishes it.
    pub async fn store(
        &self,
        conversation_id: ConversationId,
        sender: &Person,
        client_id: ClientId,
        content: &str,
    ) -> anyhow::Result<i64> {
        let entry = self.keep(conversation_id, sender, client_id, content)?;
        let (members, seq) = (self.members(conversation_id)?, entry.seq());
        self.publish(Event::MessageStored { members, entry })
            .await?;
        Ok(seq)
    }

    /// The message is stored, and no pod hears of it.
    pub fn keep(
        &self,
        conversation_id: ConversationId,
        sender: &Person,
        client_id: ClientId,
        content: &str,
    ) -> anyhow::Result<LogEvent> {
        let mut known = self.neighbours.known();
        let conversations = &mut known.conversations;
        let conversation = conversations.get_mut(&conversation_id);
        let log = &mut conversation.context("no such conversation")?.log;
        let seq = i64::try_from(log.len())? + 1;
        let entry = LogEvent::Message {
            conversation_id,
            seq,
            message: MessageView {
                id: MessageId::generate(),
                conversation_id,
                seq,
                sender_id: sender.id,
                client_id,
                content: content.to_owned(),
                created_at: Timestamp::now(),
            },
        };
        log.push(entry.clone());
        Ok(entry)
    }

    fn members(&self, conversation: ConversationId) -> anyhow::Result<Vec<UserId>> {
        let known = self.neighbours.known();
        let conversation = known.conversations.get(&conversation);
        Ok(conversation
            .context("no such conversation")?
            .members
            .clone())
    }
}

pub struct Pod {
    process: Child,
    pub url: String,
    admin: String,
}

impl Pod {
    pub async fn is_ready(&self) -> bool {
        let answer = reqwest::get(format!("{}/readyz", self.admin)).await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    /// The value of a metric, with its labels as they are printed.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let answer = reqwest::get(format!("{}/metrics", self.admin)).await.ok()?;
        let text = answer.text().await.ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// Asks the pod to stop, as Kubernetes does.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        let id = self.process.id().context("it runs")?.to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().await?;
        anyhow::ensure!(sent.success(), "kill failed");
        Ok(())
    }

    pub async fn ended(&mut self) -> anyhow::Result<bool> {
        Ok(timeout(Duration::from_secs(30), self.process.wait())
            .await??
            .success())
    }
}

/// Looks again and again until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        anyhow::ensure!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn broker_args(cluster: &TestCluster, service: Service) -> anyhow::Result<BrokerArgs> {
    let env = cluster.env(service);
    let get = |name: &str| {
        let found = env.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.clone()).context("not set")
    };
    Ok(BrokerArgs {
        rmq_host: get("RMQ_HOST")?,
        rmq_port: get("RMQ_PORT")?.parse()?,
        rmq_vhost: get("RMQ_VHOST")?,
        rmq_user: get("RMQ_USER")?,
        rmq_password: get("RMQ_PASSWORD")?.into(),
    })
}
