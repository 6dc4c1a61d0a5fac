//! A running cluster, to whoever uses it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_kube::Access;
use chat_local::kill_leftovers;
use chat_local::process::PidFile;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::wait::wait_until;
use crate::{cgroups, namespaces, runtime};

/// A single node, and how to get in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// Right inside and outside: a door of the machine leads to the API server.
    pub access: Access,
    /// Of the node, inside: hostPorts and NodePorts answer there.
    pub address: Ipv4Addr,
    /// On the machine's loopback; leads to port 80 of the node.
    pub http_port: u16,
    /// The same for 443.
    pub https_port: u16,
}

/// What a supervisor tells whoever started it, a line of JSON each. `Ready` and `Failed` are last.
#[derive(Debug, Serialize, Deserialize)]
pub enum Progress {
    Done { step: String, seconds: f64 },
    Ready,
    Failed(String),
}

impl Deref for Cluster {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

impl Cluster {
    /// Makes a cluster in the folder, of which it becomes the owner, or finds the one
    /// that runs there. `supervisor` is the program `cluster-node`; `told` hears of each
    /// step, with its seconds. The programs of Kubernetes are built now if need be.
    ///
    /// # Errors
    /// Without root, or a program of the distribution. Nothing is left then but logs.
    pub fn start(
        folder: &Path,
        supervisor: &Path,
        mut told: impl FnMut(&str, Duration),
    ) -> Result<Self> {
        require_root()?;
        std::fs::create_dir_all(folder)?;
        let folder = std::fs::canonicalize(folder)?;
        for hidden in ["/run", "/var/lib", "/var/log"] {
            ensure!(
                !folder.starts_with(hidden),
                "A node cannot be kept in {}: choose a folder outside {hidden}.",
                folder.display()
            );
        }
        let lock = File::create(folder.with_extension("lock"))?;
        lock.lock()?;
        if let Ok(running) = Self::find(&folder) {
            return Ok(running);
        }
        clear(&folder)?;
        for part in ["run", "logs", "volumes", "var/lib", "var/log"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        let log = File::create(folder.join("logs/supervisor.log"))?;
        let mut child = Command::new(supervisor)
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", supervisor.display()))?;
        let lines = child.stdout.take().context("it has an output")?;
        for line in BufReader::new(lines).lines() {
            match serde_json::from_str(&line?)? {
                Progress::Done { step, seconds } => told(&step, Duration::from_secs_f64(seconds)),
                Progress::Ready => return Self::find(&folder),
                Progress::Failed(why) => {
                    child.wait()?;
                    bail!("{why}");
                }
            }
        }
        let status = child.wait()?;
        let logs = folder.join("logs");
        bail!(
            "the node came to nothing ({status}): see {}",
            logs.display()
        )
    }

    /// The cluster that runs in a folder.
    ///
    /// # Errors
    /// When none runs there.
    pub fn find(folder: &Path) -> Result<Self> {
        let supervisor = PidFile::read(&supervisor_file(folder));
        ensure!(
            supervisor.is_some_and(|it| it.is_alive()),
            "no cluster runs in {}",
            folder.display()
        );
        Self::read(&file(folder))
    }

    /// Reads what `file` names.
    pub fn read(file: &Path) -> Result<Self> {
        let content =
            std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
        serde_json::from_slice(&content).with_context(|| format!("{} is damaged", file.display()))
    }

    /// From which another process can read this.
    pub fn file(&self) -> PathBuf {
        file(&self.access.folder)
    }

    /// The calling thread joins the network of the node, and every thread that it
    /// starts afterwards: programs, too. There is no way back, and none out.
    ///
    /// In a test this comes first; its runtime may be of one thread, or be made later.
    pub fn enter(&self) -> Result<()> {
        namespaces::enter(&self.access.folder)
    }

    /// Makes an image known to the node, from the file of `docker save` or `chat_images`.
    pub async fn load_image(&self, archive: &Path) -> Result<()> {
        let archive = std::fs::canonicalize(archive)
            .with_context(|| format!("{} cannot be read", archive.display()))?;
        runtime::import(&self.access.folder, &archive).await
    }

    /// `kill -9` of a server: `kubelet`, `kube-proxy`, `containerd`, `etcd`,
    /// `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`. It is brought back.
    pub fn crash(&self, server: &str) -> Result<()> {
        self.server(server)?.kill();
        Ok(())
    }

    /// Freezes a server until `resume`.
    pub fn pause(&self, server: &str) -> Result<()> {
        self.signal(server, Signal::SIGSTOP)
    }

    pub fn resume(&self, server: &str) -> Result<()> {
        self.signal(server, Signal::SIGCONT)
    }

    /// Ends the cluster, and removes all of it.
    pub fn stop(self) -> Result<()> {
        remove(&self.access.folder)
    }

    fn signal(&self, server: &str, signal: Signal) -> Result<()> {
        let pid = self.server(server)?.pid;
        Ok(killpg(Pid::from_raw(pid), signal)?)
    }

    fn server(&self, name: &str) -> Result<PidFile> {
        let file = self.access.folder.join("run").join(format!("{name}.pid"));
        let process = PidFile::read(&file).filter(PidFile::is_alive);
        process.with_context(|| format!("{name} does not run"))
    }
}

/// Whether a cluster can be made at all.
///
/// # Errors
/// With a sentence for people.
pub fn require_root() -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "Only root can make the namespaces of a node: try again with sudo, or as root."
    );
    Ok(())
}

/// Ends the cluster of a folder, if there is one, even after its supervisor was killed.
/// Processes, namespaces, control groups and files are gone then.
pub fn remove(folder: &Path) -> Result<()> {
    let Ok(folder) = std::fs::canonicalize(folder) else {
        return Ok(());
    };
    if let Some(supervisor) = PidFile::read(&supervisor_file(&folder)).filter(PidFile::is_alive) {
        kill(Pid::from_raw(supervisor.pid), Signal::SIGTERM)?;
        // Else it is killed below.
        wait_until(Duration::from_secs(30), || !supervisor.is_alive());
    }
    clear(&folder)?;
    let _ = std::fs::remove_file(folder.with_extension("lock"));
    Ok(())
}

fn clear(folder: &Path) -> Result<()> {
    kill_leftovers(folder);
    cgroups::remove(&cgroup(folder)?)?;
    std::fs::remove_dir_all(folder)
        .with_context(|| format!("{} cannot be removed", folder.display()))
}

/// The name of its control groups. A folder that is there has its number for itself.
pub fn cgroup(folder: &Path) -> Result<String> {
    Ok(format!("chatcluster-{}", std::fs::metadata(folder)?.ino()))
}

pub fn supervisor_file(folder: &Path) -> PathBuf {
    folder.join("run/supervisor.pid")
}

fn file(folder: &Path) -> PathBuf {
    folder.join("cluster.json")
}
