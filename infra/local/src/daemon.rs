//! A server that can be started, stopped, killed and paused, again and again,
//! always on the same ports and with the same data.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use futures::future::BoxFuture;
use nix::sys::signal::Signal;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::process::{Process, Program};

/// Asks once whether the server answers.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// How one server is run.
#[derive(Clone)]
pub struct Plan {
    pub name: String,
    pub program: Program,
    pub log: PathBuf,
    pub pid_file: PathBuf,
    pub stop_signal: Signal,
    pub stop_patience: Duration,
    pub start_patience: Duration,
    pub ready: Probe,
    /// What to do when it does not start.
    pub advice: &'static str,
}

#[derive(Clone)]
pub struct Daemon {
    plan: Arc<Plan>,
    /// Settings on top of the plan's.
    settings: Arc<Mutex<Vec<(String, String)>>>,
    process: Arc<Mutex<Option<Process>>>,
    /// Whether somebody wants it to run: a supervisor brings it back only then.
    wanted: Arc<AtomicBool>,
    /// Counts the starts.
    starts: Arc<watch::Sender<u64>>,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Daemon").field(&self.plan.name).finish()
    }
}

impl Daemon {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan: Arc::new(plan),
            settings: Arc::default(),
            process: Arc::default(),
            wanted: Arc::default(),
            starts: Arc::new(watch::Sender::new(0)),
        }
    }

    pub fn name(&self) -> &str {
        &self.plan.name
    }

    pub fn log(&self) -> &Path {
        &self.plan.log
    }

    /// From the next start on these come on top of the settings of the plan, in
    /// place of those that were given here before.
    pub async fn set_env(&self, settings: &[(&str, &str)]) {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        *self.settings.lock().await = settings.iter().map(own).collect();
    }

    /// Starts the server and waits until it answers.
    pub async fn start(&self) -> Result<()> {
        self.launch().await?;
        self.ready().await
    }

    /// Starts the server without waiting for an answer.
    pub async fn launch(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        self.wanted.store(true, Ordering::SeqCst);
        if process.as_ref().is_none_or(|it| it.exit_status().is_some()) {
            let plan = &self.plan;
            let mut program = plan.program.clone();
            program.env.extend(self.settings.lock().await.clone());
            *process = Some(Process::spawn(&program, &plan.log, &plan.pid_file).await?);
            self.starts.send_modify(|starts| *starts += 1);
        }
        Ok(())
    }

    /// Waits until the server answers, or says why it will not.
    pub async fn ready(&self) -> Result<()> {
        let deadline = Instant::now() + self.plan.start_patience;
        let mut pause = Duration::from_millis(20);
        loop {
            let asked = tokio::time::timeout(Duration::from_secs(2), (self.plan.ready)());
            if asked.await.unwrap_or(false) {
                return Ok(());
            }
            if let Some(status) = self.exit_status().await {
                return Err(self.failed(&format!("stopped while starting ({status})")));
            }
            if Instant::now() > deadline {
                let seconds = self.plan.start_patience.as_secs();
                return Err(self.failed(&format!("did not answer within {seconds} seconds")));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(Duration::from_millis(250));
        }
    }

    /// Asks the server to stop, and waits until it has.
    pub async fn stop(&self) -> Result<()> {
        self.wanted.store(false, Ordering::SeqCst);
        match self.process.lock().await.take() {
            Some(process) => {
                process
                    .stop(self.plan.stop_signal, self.plan.stop_patience)
                    .await
            }
            None => Ok(()),
        }
    }

    /// `kill -9`, and it stays down until `start`.
    pub async fn kill(&self) -> Result<()> {
        self.wanted.store(false, Ordering::SeqCst);
        match self.process.lock().await.take() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// `kill -9` as by a stranger: whoever supervises the server brings it back.
    pub async fn crash(&self) -> Result<()> {
        match self.process.lock().await.as_ref() {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// Freezes every process of the server (SIGSTOP).
    pub async fn pause(&self) {
        self.signal(Signal::SIGSTOP).await;
    }

    /// Lets a frozen server go on (SIGCONT).
    pub async fn resume(&self) {
        self.signal(Signal::SIGCONT).await;
    }

    pub async fn signal(&self, signal: Signal) {
        if let Some(process) = self.process.lock().await.as_ref() {
            process.signal(signal);
        }
    }

    pub async fn pid(&self) -> Option<i32> {
        self.process.lock().await.as_ref().map(Process::pid)
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    /// Comes back when a process runs or has just ended by itself.
    pub(crate) async fn launched(&self) {
        let mut starts = self.starts.subscribe();
        while self.process.lock().await.is_none() {
            // Only dropping the daemon could end the wait.
            let _ = starts.changed().await;
        }
    }

    /// Comes back when the running process ends, and says how.
    pub(crate) async fn ended(&self) -> String {
        let watch = self.process.lock().await.as_ref().map(Process::watch);
        let Some(mut watch) = watch else {
            return "not running".into();
        };
        match watch.wait_for(Option::is_some).await {
            Ok(status) => status.map_or_else(String::new, |status| status.to_string()),
            Err(_) => "nobody saw how".into(),
        }
    }

    /// Kills without waiting for anything, for `drop`.
    pub fn kill_now(&self) {
        self.wanted.store(false, Ordering::SeqCst);
        if let Ok(mut process) = self.process.try_lock() {
            drop(process.take());
        }
    }

    async fn exit_status(&self) -> Option<std::process::ExitStatus> {
        self.process.lock().await.as_ref()?.exit_status()
    }

    fn failed(&self, how: &str) -> anyhow::Error {
        let name = &self.plan.name;
        let (log, advice) = (self.plan.log.display(), self.plan.advice);
        let words = last_words(&self.plan.log).unwrap_or_else(|| "none".into());
        let said =
            format!("{name} {how}; its last words: “{words}” (all of them: {log}). {advice}");
        anyhow!("{}", said.trim_end())
    }
}

/// The last line of a log that says something.
fn last_words(log: &Path) -> Option<String> {
    let content = std::fs::read(log).ok()?;
    let tail = String::from_utf8_lossy(&content[content.len().saturating_sub(8192)..]).into_owned();
    let lines: Vec<&str> = tail
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let told = ["FATAL", "ERROR", "error", "failed", "refused"];
    let line = lines
        .iter()
        .rev()
        .find(|line| told.iter().any(|word| line.contains(word)))
        .or(lines.last())?;
    Some(line.trim().chars().take(300).collect())
}
