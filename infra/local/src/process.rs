//! One child process that never outlives us: in a process group of its own (so
//! that Ctrl-C reaches only us), killed by the kernel when we die, and named in
//! a pid file for `down` in case even that fails.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::programs;

/// A log that is longer gives way to a new one at the next start.
const LOG_KEPT: u64 = 64 * 1024 * 1024;

/// What to run, and as whom.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Start with nothing from our own environment but PATH.
    pub clean_env: bool,
    /// Another user to run as, and whether to keep the right to pass through
    /// folders that this user could not enter (a checkout below `/root`).
    pub user: Option<RunAs>,
    pub folder: PathBuf,
}

#[derive(Clone, Debug)]
pub struct RunAs {
    pub user: String,
    pub pass_closed_folders: bool,
}

impl Program {
    pub fn new(path: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            args: Vec::new(),
            env: Vec::new(),
            clean_env: true,
            user: None,
            folder: folder.into(),
        }
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The command, wrapped by `setpriv` where that is available: it changes the
    /// user and asks the kernel to kill the child when its parent thread ends.
    pub(crate) fn command(&self, dies_with_us: bool) -> Command {
        let mut command = match programs::find("setpriv") {
            Some(setpriv) if dies_with_us || self.user.is_some() => {
                let mut command = Command::new(setpriv);
                if let Some(run_as) = &self.user {
                    command
                        .arg(format!("--reuid={}", run_as.user))
                        .arg(format!("--regid={}", run_as.user))
                        .arg("--init-groups");
                    if run_as.pass_closed_folders {
                        command.args(["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]);
                    }
                }
                if dies_with_us {
                    command.arg("--pdeathsig=KILL");
                }
                command.arg("--").arg(&self.path);
                command
            }
            _ => Command::new(&self.path),
        };
        command.args(&self.args).current_dir(&self.folder);
        if self.clean_env {
            command.env_clear();
            if let Some(path) = std::env::var_os("PATH") {
                command.env("PATH", path);
            }
        }
        command.env("LC_ALL", "C.UTF-8");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }
}

/// A running child.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pid_file: PathBuf,
    exit: watch::Receiver<Option<ExitStatus>>,
    waiting: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts the program with both outputs appended to the log file.
    pub async fn spawn(program: &Program, log: &Path, pid_file: &Path) -> Result<Self> {
        let out = append(log)?;
        let err = out.try_clone()?;
        let mut command = program.command(true);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdout(out).stderr(err);
        let path = program.path.clone();
        let (started, start) = tokio::sync::oneshot::channel();
        let (exited, exit) = watch::channel(None);
        // The kernel's "parent" is the thread that spawned, not the process: a
        // thread that lives exactly as long as the child spawns it and waits.
        let waiting =
            std::thread::Builder::new()
                .name("child".into())
                .spawn(move || match command.spawn() {
                    Ok(mut child) => {
                        let _ = started.send(Ok(child.id()));
                        if let Ok(status) = child.wait() {
                            let _ = exited.send(Some(status));
                        }
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                })?;
        let pid = start
            .await?
            .with_context(|| format!("{} could not be started", path.display()))?;
        let pid = Pid::from_raw(i32::try_from(pid)?);
        PidFile::of(pid).write(pid_file)?;
        Ok(Self {
            pid,
            pid_file: pid_file.to_owned(),
            exit,
            waiting: Some(waiting),
        })
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    pub fn exit_status(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// A channel that says when and how the process ended.
    pub fn watch(&self) -> watch::Receiver<Option<ExitStatus>> {
        self.exit.clone()
    }

    /// Sends a signal to the whole group, and to the children: those of PostgreSQL
    /// have groups of their own, and would go on while it is paused.
    pub fn signal(&self, signal: Signal) {
        if self.exit_status().is_none() {
            // A group that is gone already is what we want.
            let _ = killpg(self.pid, signal);
            for child in children(self.pid) {
                let _ = nix::sys::signal::kill(child, signal);
            }
        }
    }

    /// Asks the process to stop, and insists after the given time.
    pub async fn stop(&self, signal: Signal, patience: Duration) -> Result<()> {
        // A paused process cannot hear anything but SIGKILL.
        self.signal(Signal::SIGCONT);
        self.signal_leader(signal);
        if tokio::time::timeout(patience, self.ended()).await.is_err() {
            tracing::warn!(
                pid = self.pid(),
                "a process did not stop when asked, killing it"
            );
        }
        self.kill().await
    }

    /// Kills the process, its group and its children at once, and waits for
    /// all of them: PostgreSQL's children have groups of their own, and while
    /// one lives, the data folder is in use.
    pub async fn kill(&self) -> Result<()> {
        let children = kill_at_once(self.pid);
        let all_ended = async {
            self.ended().await;
            while children.iter().any(|child| is_there(*child)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), all_ended)
            .await
            .is_err()
        {
            bail!("process {} survived SIGKILL for 10 seconds", self.pid);
        }
        let _ = std::fs::remove_file(&self.pid_file);
        Ok(())
    }

    pub async fn ended(&self) {
        // An error means that the waiting thread is gone, and the child with it.
        let _ = self.exit.clone().wait_for(Option::is_some).await;
    }

    fn signal_leader(&self, signal: Signal) {
        if self.exit_status().is_none() {
            let _ = nix::sys::signal::kill(self.pid, signal);
        }
    }
}

/// SIGKILL to the group and to the children, which are returned. A child that is paused
/// would not hear of the end of its parent.
fn kill_at_once(pid: Pid) -> Vec<Pid> {
    // Without their parent, nobody knows any more whose they were.
    let children = children(pid);
    let _ = killpg(pid, Signal::SIGKILL);
    for child in &children {
        let _ = nix::sys::signal::kill(*child, Signal::SIGKILL);
    }
    children
}

/// The children of a process, where the system has `/proc`.
fn children(of: Pid) -> Vec<Pid> {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    all.flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| parent(*pid) == Some(of.as_raw()))
        .map(Pid::from_raw)
        .collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold spaces and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn is_there(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie has let go of everything.
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit_status().is_none() {
            kill_at_once(self.pid);
            let _ = std::fs::remove_file(&self.pid_file);
            // Nothing survives SIGKILL for long, and whoever removes its folder
            // next should not meet it.
            if let Some(waiting) = self.waiting.take() {
                let _ = waiting.join();
            }
        }
    }
}

/// What a pid file says: enough to know the process again after a crash, when
/// its number may belong to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidFile {
    pub pid: i32,
    /// Clock ticks between the boot of the machine and the start of the process.
    pub started: Option<u64>,
}

impl PidFile {
    pub fn of(pid: Pid) -> Self {
        Self {
            pid: pid.as_raw(),
            started: start_time(pid.as_raw()),
        }
    }

    pub fn of_this_process() -> Self {
        Self::of(Pid::this())
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_vec(self)?)
            .with_context(|| crate::space::write_failed(path))
    }

    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Whether the very process that the file names still runs.
    pub fn is_alive(&self) -> bool {
        self.started.is_some() && start_time(self.pid) == self.started
    }

    /// Kills the process, its group and its children if it is still the one we started.
    pub fn kill(&self) -> bool {
        let alive = self.is_alive();
        if alive {
            kill_at_once(Pid::from_raw(self.pid));
        }
        alive
    }
}

fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in brackets and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // A zombie has ended: only its parent has not looked yet.
    (*fields.first()? != "Z").then_some(())?;
    fields.get(19)?.parse().ok()
}

fn append(path: &Path) -> Result<File> {
    if std::fs::metadata(path).is_ok_and(|log| log.len() > LOG_KEPT) {
        std::fs::rename(path, path.with_extension("log.old"))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| crate::space::write_failed(path))
}

/// Runs a program to its end and returns what it printed; its error output
/// becomes the error.
pub async fn run(program: &Program, what: &str) -> Result<String> {
    let mut command = tokio::process::Command::from(program.command(false));
    command.kill_on_drop(true);
    let output = command
        .output()
        .await
        .with_context(|| format!("{} could not be started", program.path.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(anyhow!(
        "{what} failed: {}",
        last.unwrap_or("it gave no reason").trim()
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};

    use super::{PidFile, Process, Program, children, is_there};

    /// A server whose child has a session of its own and is paused, as those of
    /// PostgreSQL may be.
    async fn with_a_paused_child(name: &str) -> anyhow::Result<(Process, nix::unistd::Pid)> {
        let folder = std::env::temp_dir().join(format!("process-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let program = Program::new("/bin/sh", &folder)
            .arg("-c")
            .arg("setsid sleep 600 & wait");
        let (log, pid_file) = (folder.join("log"), folder.join("pid"));
        let process = Process::spawn(&program, &log, &pid_file).await?;
        std::fs::remove_dir_all(&folder)?;
        let child = loop {
            if let [child] = children(process.pid)[..]
                && nix::unistd::getpgid(Some(child))? == child
            {
                break child;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        kill(child, Signal::SIGSTOP)?;
        Ok((process, child))
    }

    async fn ends(child: nix::unistd::Pid) -> anyhow::Result<()> {
        let ended = async {
            while is_there(child) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        Ok(tokio::time::timeout(Duration::from_secs(10), ended).await?)
    }

    #[tokio::test]
    async fn a_server_that_is_dropped_takes_its_paused_children_along() -> anyhow::Result<()> {
        let (process, child) = with_a_paused_child("dropped").await?;
        drop(process);
        ends(child).await
    }

    #[tokio::test]
    async fn what_a_pid_file_names_takes_its_paused_children_along() -> anyhow::Result<()> {
        let (process, child) = with_a_paused_child("named").await?;
        assert!(PidFile::of(process.pid).kill());
        ends(child).await
    }
}
