//! The network, the mounts and the processes of the node are apart from those of the
//! machine. No device leads out: whatever runs inside reaches nothing but the node.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chat_kube::control_plane::SERVICES;
use chat_local::process::{PidFile, Process, Program};
use chat_local::programs;
use nix::sched::{CloneFlags, setns};

/// The node's, to whoever is inside.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);

/// Holds the namespaces. When it is dropped, or its owner dies, the kernel kills all
/// that runs in them, and takes back the mounts and the network.
#[derive(Debug)]
pub struct Namespaces {
    holder: Process,
}

impl Namespaces {
    /// In a folder that has `run`, `logs`, `var/lib` and `var/log`.
    pub async fn make(folder: &Path) -> Result<Self> {
        let furnished = folder.join("run/furnished");
        let program = Program::new(programs::need("unshare", "util-linux")?, folder)
            .arg("--net")
            .arg("--mount")
            .arg("--pid")
            .arg("--fork")
            .arg("--kill-child")
            .arg("--mount-proc")
            .arg("--")
            .arg("/bin/sh")
            .arg("-euc")
            .arg(include_str!("node.sh"))
            .arg("node.sh")
            .arg(folder.display().to_string())
            .arg(ADDRESS.to_string())
            .arg(SERVICES);
        let log = folder.join("logs/namespaces.log");
        let holder = Process::spawn(&program, &log, &pid_file(folder)).await?;
        while !furnished.exists() {
            if holder.exit_status().is_some() {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("no namespaces for the node: {}", said.trim());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { holder })
    }

    /// A program of the node. Its network is that of whoever starts it.
    pub fn program(&self, path: &Path, folder: &Path) -> Result<Program> {
        let pid = self.holder.pid();
        Ok(
            Program::new(programs::need("nsenter", "util-linux")?, folder)
                .arg(format!("--mount=/proc/{pid}/ns/mnt"))
                .arg(format!("--pid=/proc/{pid}/ns/pid_for_children"))
                .arg("--")
                .arg(path.display().to_string()),
        )
    }

    /// Comes back when somebody has killed the node.
    pub async fn ended(&self) {
        self.holder.ended().await;
    }
}

/// The calling thread joins the network of a running node, and every thread that it
/// starts from then on: what they open is inside.
pub fn enter(folder: &Path) -> Result<()> {
    let network = proc(folder)?.join("ns/net");
    let file = File::open(&network).with_context(|| "the node does not run any more")?;
    setns(file, CloneFlags::CLONE_NEWNET).context("only root can join the network of the node")
}

/// A path as the programs of a running node see it.
pub fn inside(folder: &Path, path: &str) -> Result<PathBuf> {
    Ok(proc(folder)?
        .join("root")
        .join(path.trim_start_matches('/')))
}

fn proc(folder: &Path) -> Result<PathBuf> {
    let holder = PidFile::read(&pid_file(folder)).filter(PidFile::is_alive);
    let holder = holder.with_context(|| format!("no node runs in {}", folder.display()))?;
    Ok(PathBuf::from("/proc").join(holder.pid.to_string()))
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("run/namespaces.pid")
}
