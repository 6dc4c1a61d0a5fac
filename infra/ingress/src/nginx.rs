//! The running NGINX, and its configuration on disk.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::config::Rendered;

pub struct Nginx {
    program: PathBuf,
    folder: PathBuf,
    running: Child,
}

impl Nginx {
    /// Starts it in a folder that is its own to write into.
    pub async fn start(program: &Path, folder: &Path, config: &Rendered) -> Result<Self> {
        write(program, folder, config).await?;
        let running = nginx(program, folder, "nginx.conf")
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        Ok(Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            running,
        })
    }

    /// Requests from now on are answered by this configuration, open ones by the one
    /// that they began with. A wrong one changes nothing.
    pub async fn apply(&self, config: &Rendered) -> Result<()> {
        write(&self.program, &self.folder, config).await?;
        self.signal(Signal::SIGHUP)
    }

    /// Ends it when every request is answered.
    pub fn quit(&self) -> Result<()> {
        self.signal(Signal::SIGQUIT)
    }

    /// Returns when it has ended.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.running.wait().await?)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.running.id().context("NGINX has ended")?;
        Ok(kill(Pid::from_raw(pid.try_into()?), signal)?)
    }
}

impl Drop for Nginx {
    /// Asks, as whoever is killed leaves its workers behind.
    fn drop(&mut self) {
        let _ = self.signal(Signal::SIGTERM);
    }
}

/// Writes what NGINX finds right.
async fn write(program: &Path, folder: &Path, config: &Rendered) -> Result<()> {
    for (name, content) in &config.certificates {
        write_private(&folder.join(name), content)?;
    }
    let draft = "nginx.conf.new";
    std::fs::write(folder.join(draft), &config.text)?;
    let tried = nginx(program, folder, draft).arg("-t").output().await?;
    let said = String::from_utf8_lossy(&tried.stderr);
    ensure!(tried.status.success(), "NGINX refuses: {}", said.trim());
    std::fs::rename(folder.join(draft), folder.join("nginx.conf"))?;
    Ok(())
}

fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    std::io::Write::write_all(&mut options.open(path)?, content)?;
    Ok(())
}

fn nginx(program: &Path, folder: &Path, config: &str) -> Command {
    let mut command = Command::new(program);
    command.arg("-p").arg(folder);
    command.args(["-e", "stderr", "-c", config]);
    command
}
