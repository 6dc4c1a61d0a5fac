//! A control plane of the bench's own, and operators on it with just their rights.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use chat_kube::Options;
use chat_kube::audit::{Call, Mark};
use chat_kube::testing::{OwnControlPlane, own_control_plane};
use chat_local::process::{Process, Program};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Client;
use kube::api::{Api, DynamicObject, ObjectMeta, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::usage::Meter;
use crate::wait::{PATIENCE, await_until};

/// As the audit log knows the operators.
const USER: &str = "chat-operator";
/// Where the Lease is.
const HOME: &str = "default";

/// Where chats are made one after the other.
pub const FEW: &str = "few";

pub struct Place {
    pub plane: OwnControlPlane,
    /// The administrator's.
    pub client: Client,
    program: PathBuf,
    kubeconfig: PathBuf,
    quiet: Duration,
}

impl Place {
    /// `quiet` is after how long without a call an operator counts as settled.
    pub async fn start(program: &Path, quiet: Duration) -> Result<Self> {
        let plane = own_control_plane(Options::default()).await;
        let definition = printed(program, &["crd"]).await?;
        plane.apply(&definition).await?;
        let name = "crd/chatclusters.chatcluster.io";
        let words = ["wait", name, "--for=condition=Established", "--timeout=60s"];
        plane.kubectl(&words).await?;
        plane.apply(&rights(program).await?.to_string()).await?;
        Ok(Self {
            client: plane.client().await?,
            program: program.to_owned(),
            quiet,
            kubeconfig: plane.kubeconfig_for(USER, None)?,
            plane,
        })
    }

    /// What the operator prints for these arguments.
    pub async fn printed(&self, arguments: &[&str]) -> Result<String> {
        printed(&self.program, arguments).await
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Makes a namespace, and waits until pods may be made in it.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let all: Api<Namespace> = Api::all(self.client.clone());
        all.create(&PostParams::default(), &namespace).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), name);
        await_until("pods are admitted", PATIENCE, async || {
            Ok(accounts.get_opt("default").await?)
        })
        .await?;
        Ok(())
    }

    pub fn chats(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("chatcluster.io", "v1alpha1", "ChatCluster");
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.client.clone(), namespace, &resource)
    }

    /// Makes a ChatCluster with nothing but a host, whose data go with it.
    pub async fn create(&self, namespace: &str, name: &str) -> Result<()> {
        let chat = serde_json::from_value(json!({
            "apiVersion": "chatcluster.io/v1alpha1",
            "kind": "ChatCluster",
            "metadata": {"name": name},
            "spec": {"host": "chat.example.com", "deletionPolicy": "Delete"},
        }))?;
        let parameters = PostParams::default();
        self.chats(namespace).create(&parameters, &chat).await?;
        Ok(())
    }

    /// The calls of all operators since a mark, those for their Lease and the begin of
    /// watches not among them.
    pub fn calls(&self, since: Mark) -> Result<Vec<Call>> {
        let calls = self.plane.audit().calls_since(since)?;
        let of_it = calls
            .into_iter()
            .filter(|call| call.user == USER && call.resource != "leases" && call.verb != "watch");
        Ok(of_it.collect())
    }

    /// Waits until the operators have called nobody for a while.
    pub async fn silence(&self) -> Result<()> {
        await_until("a while without a call", PATIENCE, async || {
            let mark = self.plane.audit().mark()?;
            tokio::time::sleep(self.quiet).await;
            Ok(self.calls(mark)?.is_empty().then_some(()))
        })
        .await
    }

    /// Counts what the control plane, this process and an operator use.
    pub async fn meter(&self, operator: Option<&Operator>) -> Result<Meter> {
        let mut processes = vec![("bench", i32::try_from(std::process::id())?)];
        processes.extend(operator.map(|it| ("operator", it.pid())));
        let plane = &self.plane;
        let servers = [Some(&plane.etcd), Some(&plane.api_server)];
        for daemon in servers
            .into_iter()
            .chain([plane.controller_manager.as_ref()])
        {
            if let Some(daemon) = daemon
                && let Some(pid) = daemon.pid().await
            {
                let known = ["etcd", "kube-apiserver", "kube-controller-manager"];
                let name = known.into_iter().find(|it| *it == daemon.name());
                processes.push((name.context("an unknown server")?, pid));
            }
        }
        Meter::begin(processes)
    }
}

/// The whole output of a program; an error when it fails.
async fn printed(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output();
    let output = output
        .await
        .with_context(|| format!("{} cannot be started", program.display()))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The role that the operator asks for, and its user in it.
async fn rights(program: &Path) -> Result<Value> {
    let mut rules = Vec::new();
    for which in ["--cluster", "--own"] {
        let printed = printed(program, &["rbac", which]).await?;
        rules.extend(serde_saphyr::from_str::<Vec<Value>>(&printed)?);
    }
    let api = "rbac.authorization.k8s.io";
    let version = format!("{api}/v1");
    let metadata = json!({"name": USER});
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": version, "kind": "ClusterRole", "metadata": metadata, "rules": rules},
        {
            "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": USER},
            "subjects": [{"apiGroup": api, "kind": "User", "name": USER}],
        },
    ]}))
}

/// A running operator.
pub struct Operator {
    process: Process,
    log: PathBuf,
    pub started: Timestamp,
}

impl Operator {
    pub async fn start(place: &Place) -> Result<Self> {
        let folder = &place.plane.folder;
        let name = format!("operator-{}", uuid::Uuid::new_v4().simple());
        let log = folder.join(format!("{name}.log"));
        let program = Program::new(&place.program, folder)
            .arg("run")
            .arg("--metrics-addr=127.0.0.1:0")
            .arg(format!("--lease-namespace={HOME}"))
            .env("KUBECONFIG", place.kubeconfig.display().to_string());
        let pid_file = folder.join("run").join(format!("{name}.pid"));
        Ok(Self {
            started: Timestamp::now(),
            process: Process::spawn(&program, &log, &pid_file).await?,
            log,
        })
    }

    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Waits until it leads, and says since when.
    pub async fn leads(&self) -> Result<Timestamp> {
        self.says("leads").await?["timestamp"]
            .as_str()
            .context("no time")?
            .parse()
            .context("not a time")
    }

    /// Waits until its caches are filled.
    pub async fn is_ready(&self) -> Result<()> {
        await_until("the operator is ready", PATIENCE, async || {
            Ok(self.get("/readyz").await.is_ok().then_some(()))
        })
        .await
    }

    /// The sum of its samples of a metric whose labels have all of `labels` in them.
    pub async fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let text = self.get("/metrics").await?;
        Ok(samples(&text, name)
            .filter(|(of, _)| of.contains(labels))
            .fold(0.0, |sum, (_, value)| sum + value))
    }

    /// The bound of the bucket of a histogram under which so many percent of its
    /// samples are; infinite when that is the last one.
    pub async fn quantile(&self, name: &str, percent: f64) -> Result<f64> {
        let text = self.get("/metrics").await?;
        let name = format!("{name}_bucket");
        let bounds = samples(&text, &name).filter_map(|(labels, count)| {
            let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
            Some((bound.parse::<f64>().unwrap_or(f64::INFINITY), count))
        });
        let mut bounds: Vec<_> = bounds.collect();
        bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = bounds.last().context("no samples")?.1;
        let found = bounds
            .iter()
            .find(|(_, count)| *count >= all * percent / 100.0);
        Ok(found.map_or(f64::INFINITY, |(bound, _)| *bound))
    }

    /// Tells it to stop, and waits until it has.
    pub async fn stop(self) -> Result<()> {
        self.process.stop(Signal::SIGTERM, PATIENCE).await
    }

    pub async fn kill(self) -> Result<()> {
        self.process.kill().await
    }

    async fn says(&self, message: &str) -> Result<Value> {
        let what = format!("the operator says {message:?}");
        await_until(&what, PATIENCE, async || {
            let log = std::fs::read_to_string(&self.log)?;
            let mut lines = log
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            Ok(lines.find(|line| line["message"] == message))
        })
        .await
    }

    async fn get(&self, path: &str) -> Result<String> {
        let up = self.says("up").await?;
        let address = up["address"].as_str().context("no address")?;
        let answer = reqwest::get(format!("http://{address}{path}")).await?;
        Ok(answer.error_for_status()?.text().await?)
    }
}

/// The labels and values of one metric.
fn samples<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let is_it = labels.is_empty() || labels.starts_with('{');
        is_it.then_some((labels, value.parse().ok()?))
    })
}
