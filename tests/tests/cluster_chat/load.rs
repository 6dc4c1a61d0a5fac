//! 200 clients who write, read, type, come and go, and a few who ask every service,
//! while something is done to the chat.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_cluster::Cluster;
use chat_e2e::history::Kind;
use chat_e2e::run::{LoadPlan, UnderLoad};
use chat_events::close;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::askers::Askers;
use super::harness::{ClusterChat, PATIENCE};

/// One person in ten has a second tab: 201 clients.
const PEOPLE: usize = 182;
const RATE: f64 = 30.0;
const ASKERS: usize = 4;
/// From the end of a socket to the next hello, of 99 in 100.
const BACK: Duration = Duration::from_secs(2);

pub struct Disturbed {
    pub chat: ClusterChat,
    plan: LoadPlan,
    run: UnderLoad,
    askers: Option<Askers>,
}

/// So many Pods of every service, each small enough for all of them to fit on a small
/// machine.
pub fn replicas(count: u32) -> Value {
    let many = json!({"replicas": count});
    json!({"services": {
        "auth": many, "users": many, "messages": many, "socketHandler": many,
        "notifications": many, "web": many,
    }})
}

impl Disturbed {
    pub async fn start(cluster: Cluster, namespace: &str, spec: Value) -> Result<Self> {
        let chat = ClusterChat::start(cluster, namespace, spec).await?;
        let plan = LoadPlan {
            seed: 1,
            rate: RATE,
            people: PEOPLE,
            folder: std::env::temp_dir().join(format!("{namespace}-{}", std::process::id())),
            presence: false,
        };
        let run = UnderLoad::gather(&plan, &chat.site).await?;
        let askers = Askers::begin(&chat.site, ASKERS).await?;
        Ok(Self {
            chat,
            plan,
            run,
            askers: Some(askers),
        })
    }

    /// Does something to the chat while everybody goes on; it closes no socket more than
    /// `rolls` times.
    pub async fn step(
        &mut self,
        what: &str,
        rolls: usize,
        act: impl AsyncFnOnce(&ClusterChat) -> Result<()>,
    ) -> Result<()> {
        let began = Instant::now();
        let clients = self.run.clients().to_vec();
        let acting = async {
            act(&self.chat).await?;
            for client in &clients {
                client
                    .await_state("back", PATIENCE, |state| {
                        (state.connected || state.offline).then_some(())
                    })
                    .await?;
            }
            anyhow::Ok(())
        };
        let done = self.run.meanwhile(acting).await;
        eprintln!("{what}: {:.1} s", began.elapsed().as_secs_f64());
        done.and_then(|()| self.sockets_since(began, rolls))
            .with_context(|| what.to_owned())
    }

    /// A Pod of a store goes, and until it is back there is less of the store, or none.
    pub async fn lose(&mut self, pod: &Pod, how: &DeleteParams) -> Result<()> {
        let name = pod.name_any();
        let recorder = self.run.recorder().clone();
        recorder.fault(&name, Kind::Invoke);
        self.step(&format!("{name} is deleted"), 0, async |chat| {
            chat.api::<Pod>().delete(&name, how).await?;
            chat.await_whole_without(pod).await
        })
        .await?;
        recorder.fault(&name, Kind::Ok);
        Ok(())
    }

    /// From now on requests may fail, for there is one of what they need.
    pub async fn end_of_requests(&mut self) -> Result<()> {
        let askers = self.askers.take().context("nobody asks any more")?;
        let asked = askers.end().await?;
        eprintln!("{asked} requests, and none failed");
        ensure!(asked > 100, "only {asked} requests");
        Ok(())
    }

    /// Lets all come to rest, and judges.
    pub async fn judge(mut self) -> Result<()> {
        if self.askers.is_some() {
            self.end_of_requests().await?;
        }
        let history = self.plan.history();
        let outcome = self.run.finish(&self.chat, Vec::new()).await?;
        eprintln!("{outcome}");
        ensure!(
            outcome.is_clean(),
            "{outcome}\nits history is {}",
            history.display()
        );
        std::fs::remove_dir_all(&self.plan.folder)?;
        self.chat.remove().await
    }

    /// Every socket that the server closed since `before` was told why, at most `rolls`
    /// times each, and was back soon.
    fn sockets_since(&self, before: Instant, rolls: usize) -> Result<()> {
        let mut away = Vec::new();
        for client in self.run.clients() {
            let gaps = client.state().gaps.clone();
            let closed = gaps.iter().filter(|gap| !gap.wanted && gap.began >= before);
            let closed: Vec<_> = closed.collect();
            let name = &client.person.username;
            ensure!(closed.len() <= rolls, "{name} was closed {closed:?}");
            for gap in closed {
                ensure!(gap.code == Some(close::GOING_AWAY), "{name}: {gap:?}");
                let lasted = gap.lasted.with_context(|| format!("{name} is away"))?;
                if lasted > BACK {
                    eprintln!("  {name}: {gap:?}");
                }
                away.push(lasted);
            }
        }
        away.sort_unstable();
        let within = |share: usize| away.get(away.len() * share / 100);
        let (Some(worst), Some(half), Some(most)) = (away.last(), within(50), within(99)) else {
            return Ok(());
        };
        eprintln!(
            "  {} sockets were closed and back, half of them within {half:.1?}, 99 % within {most:.1?}, the last after {worst:.1?}",
            away.len()
        );
        ensure!(*most <= BACK, "{most:?}");
        Ok(())
    }
}
