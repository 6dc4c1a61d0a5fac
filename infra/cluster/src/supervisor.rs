//! The process that holds a node: it makes it step by step, brings back what dies, and
//! takes everything along when it ends.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use chat_kube::{Access, ControlPlane, NodeAddress, Options, node_tools};
use chat_local::Supervisor as Keeper;
use chat_local::process::PidFile;
use chat_local::{daemon::Daemon, write_private};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::cluster::{self, Cluster, Progress};
use crate::doors::Door;
use crate::namespaces::{self, Namespaces};
use crate::{cgroups, node, runtime, volumes};

/// The doors into the node.
struct Doors {
    api_server: Door,
    http: Door,
    https: Door,
}

/// A running node, by its parts; the first are stopped first.
struct Node {
    daemons: [Daemon; 3],
    plane: ControlPlane,
}

impl Drop for Node {
    fn drop(&mut self) {
        for daemon in &self.daemons {
            daemon.kill_now();
        }
    }
}

/// Runs a node in a folder that `Cluster::start` has made, until somebody asks to stop.
///
/// # Errors
/// When the node cannot be made, or was killed.
pub fn supervise(folder: &Path) -> Result<()> {
    close_inherited()?;
    allow_files()?;
    // The terminal's Ctrl-C and its end are not for a node.
    nix::unistd::setsid().context("a supervisor has to be started by `Cluster::start`")?;
    PidFile::of_this_process().write(&cluster::supervisor_file(folder))?;
    let cgroup = cluster::cgroup(folder)?;
    let held = hold(folder, &cgroup);
    if let Err(error) = &held {
        // Nobody listens any more if it was ready once.
        let _ = tell(&Progress::Failed(format!("{error:#}")));
    }
    cgroups::remove(&cgroup)?;
    std::fs::remove_file(cluster::supervisor_file(folder))?;
    held
}

/// A lock of whoever wanted the node must not be held as long as it runs.
fn close_inherited() -> Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in open.into_iter().filter(|number| *number > 2) {
        // That of the list itself is closed already.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

/// What a login shell allows is few for stores, and Pods inherit it.
fn allow_files() -> Result<()> {
    const ENOUGH: u64 = 65_536;
    let (now, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = now.max(most.min(ENOUGH));
    Ok(setrlimit(Resource::RLIMIT_NOFILE, wanted, most)?)
}

fn hold(folder: &Path, cgroup: &str) -> Result<()> {
    cgroups::make(cgroup)?;
    let doors = Doors {
        api_server: Door::straight()?,
        // Chats let in browsers whose address has no port in it.
        http: Door::make(80, 80)?,
        https: Door::make(443, 443)?,
    };
    let outside = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let started = Instant::now();
    let namespaces = outside.block_on(Namespaces::make(folder))?;
    drop(outside);
    done("namespaces made", started)?;
    namespaces::enter(folder)?;
    // Every thread of this one, and so every server, is inside.
    let inside = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    inside.block_on(run(folder, cgroup, &namespaces, doors))
}

async fn run(folder: &Path, cgroup: &str, namespaces: &Namespaces, doors: Doors) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut tasks = JoinSet::new();
    let started = async {
        let (cluster, node) = start(folder, cgroup, namespaces, &doors).await?;
        let mut keeper = Keeper::default();
        for daemon in node.all() {
            keeper.watch(daemon);
        }
        let client = node.plane.client().await?;
        let folders = folder.join("volumes");
        tasks.spawn(async move { volumes::provision(client, &folders).await });
        for door in [doors.api_server, doors.http, doors.https] {
            tasks.spawn(door.serve());
        }
        write_private(&cluster.file(), serde_json::to_vec_pretty(&cluster)?)?;
        tell(&Progress::Ready)?;
        anyhow::Ok((keeper, node))
    };
    let (mut keeper, node) = tokio::select! {
        started = started => started?,
        _ = terminate.recv() => return Ok(()),
    };
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        () = namespaces.ended() => Err(anyhow::anyhow!("the node was killed")),
        Some(ended) = tasks.join_next() => {
            ended?.map(|never| match never {}).context("a part of the node has ended")
        }
    };
    keeper.stop().await;
    drop(tasks);
    drop(node);
    outcome
}

async fn start(
    folder: &Path,
    cgroup: &str,
    namespaces: &Namespaces,
    doors: &Doors,
) -> Result<(Cluster, Node)> {
    let tools = node_tools().await?;
    let options = Options {
        scheduler: true,
        audit: chat_kube::audit::Audit::Off,
        node: Some(NodeAddress {
            ip: namespaces::ADDRESS,
            port: doors.api_server.port()?,
        }),
        ..Options::default()
    };
    let containerd = runtime::containerd(namespaces, folder)?;
    let started = Instant::now();
    let (plane, ()) = tokio::try_join!(ControlPlane::start(folder, options), async {
        containerd.start().await?;
        runtime::import_own(folder, &tools).await
    })?;
    done("control plane and containerd answer", started)?;
    let started = Instant::now();
    let access: &Access = &plane;
    let kubelet = node::kubelet(namespaces, access, &tools, cgroup)?;
    let kube_proxy = node::kube_proxy(namespaces, access, &tools)?;
    tokio::try_join!(kubelet.start(), kube_proxy.start())?;
    node::ready(access).await?;
    done("node Ready", started)?;
    let started = Instant::now();
    let dns = include_str!("../manifests/dns.yaml").replace("$COREDNS", runtime::COREDNS);
    access.apply(&dns).await?;
    for manifest in [
        include_str!("../manifests/requests.yaml"),
        include_str!("../manifests/storage.yaml"),
    ] {
        access.apply(manifest).await?;
    }
    let rollout = ["rollout", "status", "deployment/coredns"];
    let patience = ["--namespace=kube-system", "--timeout=120s"];
    access
        .kubectl(&[&rollout[..], &patience[..]].concat())
        .await?;
    done("name server Ready", started)?;
    let cluster = Cluster {
        access: plane.access(),
        address: namespaces::ADDRESS,
        http_port: doors.http.port()?,
        https_port: doors.https.port()?,
    };
    let daemons = [kubelet, kube_proxy, containerd];
    Ok((cluster, Node { daemons, plane }))
}

impl Node {
    fn all(&self) -> impl Iterator<Item = &Daemon> {
        let plane = &self.plane;
        let optional = [&plane.controller_manager, &plane.scheduler];
        self.daemons
            .iter()
            .chain([&plane.etcd, &plane.api_server])
            .chain(optional.into_iter().flatten())
    }
}

fn done(step: &str, started: Instant) -> Result<()> {
    tell(&Progress::Done {
        step: step.to_owned(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Fails when nobody waits for the node any more.
fn tell(progress: &Progress) -> Result<()> {
    let line = serde_json::to_string(progress)?;
    writeln!(std::io::stdout(), "{line}").context("whoever wanted the node has gone")
}
