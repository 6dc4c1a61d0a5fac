//! How a node comes and goes. Each test has one of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_cluster::Cluster;
use chat_local::process::PidFile;
use chat_local::testing::temporary_folder;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where a node may be, which does not outlive its test.
struct Place(PathBuf);

impl Place {
    fn new() -> Result<Self> {
        let whole = std::fs::canonicalize(temporary_folder()?)?;
        Ok(Self(whole.join("node")))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = chat_cluster::remove(&self.0);
        let _ = self.0.parent().map(std::fs::remove_dir_all);
    }
}

fn start(folder: &Path) -> Result<Cluster> {
    let supervisor = Path::new(env!("CARGO_BIN_EXE_cluster-node"));
    Cluster::start(folder, supervisor, |_, _| {})
}

/// What of the machine a node could leave behind or change.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    processes: BTreeSet<String>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    devices: BTreeSet<PathBuf>,
    kernel: Vec<String>,
    folders: Vec<PathBuf>,
}

impl Traces {
    fn of(folder: &Path) -> Result<Self> {
        let name = folder.display().to_string();
        let ours = |text: &String| text.contains(&name);
        let commands = children(Path::new("/proc"))?.into_iter().filter_map(|it| {
            let words = std::fs::read(it.join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&words).replace('\0', " "))
        });
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let groups = children(Path::new("/sys/fs/cgroup"))?;
        let groups = groups
            .iter()
            .flat_map(|it| children(it).unwrap_or_default());
        let settings = [
            "vm/overcommit_memory",
            "kernel/panic",
            "kernel/panic_on_oops",
        ];
        let used = [
            "/usr/libexec/kubernetes",
            "/etc/cni",
            "/opt/cni",
            "/run/netns",
        ];
        let under = [
            "lib/containerd",
            "lib/kubelet",
            "lib/cni",
            "log/pods",
            "log/containers",
        ];
        let under = under.map(|it| Path::new("/var").join(it));
        let used = used.map(PathBuf::from).into_iter().chain(under);
        let used = used.chain([folder.to_owned()]);
        let read = |it: &str| std::fs::read_to_string(Path::new("/proc/sys").join(it));
        Ok(Self {
            processes: commands.filter(ours).collect(),
            mounts: mounts.lines().map(str::to_owned).filter(ours).collect(),
            cgroups: groups
                .filter(|it| it.is_dir() && is_of(it, folder))
                .collect(),
            devices: children(Path::new("/sys/class/net"))?.into_iter().collect(),
            kernel: settings.into_iter().map(read).collect::<Result<_, _>>()?,
            folders: used.into_iter().filter(|it| it.exists()).collect(),
        })
    }
}

/// Other nodes of this machine are none of our business.
fn is_of(group: &Path, folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let number = std::fs::metadata(folder).map_or(0, |it| it.ino());
    let name = group.file_name().unwrap_or_default();
    name == format!("chatcluster-{number}").as_str() || name == "kubepods"
}

fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).context("a folder of the kernel")?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

#[test]
fn a_node_leaves_nothing_behind_even_when_its_supervisor_is_killed() -> Result<()> {
    let place = Place::new()?;
    let folder = place.0.clone();
    let before = Traces::of(&folder)?;

    let cluster = start(&folder)?;
    let running = Traces::of(&folder)?;
    assert_eq!(running.kernel, before.kernel);
    assert_eq!(running.devices, before.devices);
    assert_eq!(running.mounts, before.mounts);
    assert_eq!(
        running.folders,
        [&before.folders[..], std::slice::from_ref(&folder)].concat()
    );
    assert!(running.processes.len() > 7, "{:?}", running.processes);
    assert!(!running.cgroups.is_empty());
    cluster.stop()?;
    assert_eq!(Traces::of(&folder)?, before);

    start(&folder)?;
    let groups = Traces::of(&folder)?.cgroups;
    let supervisor = PidFile::read(&folder.join("run/supervisor.pid")).context("it runs")?;
    kill(Pid::from_raw(supervisor.pid), Signal::SIGKILL)?;
    chat_cluster::remove(&folder)?;
    assert_eq!(Traces::of(&folder)?, before);
    let left: Vec<_> = groups.iter().filter(|group| group.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
    // Nothing is nothing to complain about.
    chat_cluster::remove(&folder)
}

#[test]
fn who_starts_a_node_twice_gets_the_one_that_runs() -> Result<()> {
    let Place(folder) = &Place::new()?;
    let first = start(folder)?;
    let mut steps = 0;
    let supervisor = Path::new("/nonexistent");
    let second = Cluster::start(folder, supervisor, |_: &str, _: Duration| steps += 1)?;
    assert_eq!((second.access.url, steps), (first.access.url.clone(), 0));
    first.stop()
}

#[test]
fn a_node_that_cannot_be_made_says_why_and_leaves_nothing_running() -> Result<()> {
    let Place(folder) = &Place::new()?;
    let broken = folder.with_file_name("broken");
    let own = env!("CARGO_BIN_EXE_cluster-node");
    let script = format!("#!/bin/sh\nmkdir \"$1/kernel\"\nexec {own} \"$1\"\n");
    std::fs::write(&broken, script)?;
    let executable = Command::new("chmod").arg("+x").arg(&broken).status()?;
    assert!(executable.success());
    let error = Cluster::start(folder, &broken, |_, _| {}).expect_err("it runs");
    assert!(error.to_string().contains("kernel"), "{error:#}");
    assert_eq!(Traces::of(folder)?.processes, BTreeSet::new());
    Ok(())
}
