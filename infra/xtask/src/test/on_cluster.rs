//! The part of the tests that needs Pods: one cluster for all of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use chat_cluster::Cluster;
use chat_cluster::testing::CLUSTER_VARIABLE;
use chat_local::process::PidFile;

use super::{Report, nextest};
use crate::steps::{self, Steps, timed};
use crate::{cluster, files};

/// Which tests these are.
pub const TESTS: &str = "package(chat-cluster) | binary(/^cluster_/)";

/// Starts a cluster with the images of this checkout, built with Cargo's `profile`, and
/// runs the tests. What servers and Pods have said is kept.
pub async fn run(
    tests: &str,
    profile: &str,
    steps: &mut Steps,
    report: &mut Report,
    filter: Option<&str>,
) -> Result<()> {
    let started = Instant::now();
    let whole = folder_of_this_run()?;
    let folder = whole.join("node");
    let prepared = prepare(&folder, profile).await;
    let error = prepared.as_ref().err().map(|error| format!("{error:#}"));
    steps.note("cluster with the images of this checkout", started, error);
    if let Ok(cluster) = prepared {
        let variables = [(CLUSTER_VARIABLE, cluster.file())];
        steps.run("tests on the cluster", || {
            nextest(&variables, tests, filter, report)
        });
    }
    steps.run("end of the cluster", || {
        let kept = keep_logs(&folder)?;
        steps::say(&format!("logs of the cluster: {}", kept.display()));
        chat_cluster::remove(&folder)?;
        Ok(std::fs::remove_dir_all(whole)?)
    });
    Ok(())
}

async fn prepare(folder: &Path, profile: &str) -> Result<Cluster> {
    let images = timed("images built", async { cluster::all_images(profile) }).await?;
    let cluster = cluster::start(folder).await?;
    cluster::furnish(&cluster, &images).await?;
    Ok(cluster)
}

/// What runs left that were killed is removed, Pods and all.
fn folder_of_this_run() -> Result<PathBuf> {
    const NAME: &str = "test-cluster";
    for left in std::fs::read_dir(files::cache().join(NAME))
        .into_iter()
        .flatten()
    {
        let left = left?.path();
        let owner = PidFile::read(&left.join("owner.pid"));
        if owner.is_none_or(|owner| !owner.is_alive()) {
            chat_cluster::remove(&left.join("node"))?;
        }
    }
    files::of_this_run(NAME)
}

/// In place of those of the run before.
fn keep_logs(folder: &Path) -> Result<PathBuf> {
    let kept = files::cache().join("test-cluster-logs");
    if kept.exists() {
        std::fs::remove_dir_all(&kept)?;
    }
    std::fs::create_dir_all(&kept)?;
    for (from, name) in [("logs", "servers"), ("var/log/pods", "pods")] {
        let from = folder.join(from);
        if from.is_dir() {
            steps::run(Command::new("cp").arg("-r").arg(from).arg(kept.join(name)))?;
        }
    }
    Ok(kept)
}
