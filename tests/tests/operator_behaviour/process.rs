//! The operator as a process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_e2e::await_until;
use chat_local::stack::programs_beside_tests;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};

/// How long anything may take that has no time of its own.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when it is dropped.
pub struct Operator {
    process: Child,
    log: PathBuf,
}

pub fn program() -> Result<PathBuf> {
    Ok(programs_beside_tests()?.join("operator"))
}

/// What the operator prints for these arguments.
pub async fn printed(arguments: &[&str]) -> Result<String> {
    let output = Command::new(program()?).args(arguments).output().await?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

impl Operator {
    /// Looks at one namespace, or at all of them; `more` are arguments of `operator run`.
    pub fn start(
        kubeconfig: &Path,
        folder: &Path,
        namespace: Option<&str>,
        lease: &str,
        more: &[&str],
    ) -> Result<Self> {
        let log = folder.join(format!("operator-{:016x}.log", rand::random::<u64>()));
        let output = std::fs::File::create(&log)?;
        let process = Command::new(program()?)
            .args([
                "run",
                "--metrics-addr",
                "127.0.0.1:0",
                "--lease-namespace",
                lease,
            ])
            .args(["--log", "info"])
            .args(more)
            .args(
                namespace
                    .into_iter()
                    .flat_map(|it| ["--watch-namespaces", it]),
            )
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .stdout(Stdio::from(output.try_clone()?))
            .stderr(Stdio::from(output))
            .kill_on_drop(true)
            .spawn()
            .context("the operator is not built: run `cargo build -p chat-operator` first")?;
        Ok(Self { process, log })
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.process.id().context("it has ended")?;
        Ok(kill(Pid::from_raw(i32::try_from(id)?), signal)?)
    }

    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    /// Its exit code, once it has ended; `None` when a signal ended it.
    pub async fn ended(&mut self) -> Result<Option<i32>> {
        Ok(tokio::time::timeout(PATIENCE, self.process.wait())
            .await??
            .code())
    }

    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// Waits until a line with this message was logged.
    pub async fn says(&self, message: &str) -> Result<Value> {
        let what = format!("the operator says {message:?}");
        let said = await_until(&what, PATIENCE, async || {
            let log = self.log()?;
            let mut lines = log
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            Ok(lines.find(|line| line["message"] == message))
        });
        said.await.with_context(|| self.log().unwrap_or_default())
    }

    /// The base of its own URLs.
    pub async fn url(&self) -> Result<String> {
        let up = self.says("up").await?;
        let address = up["address"].as_str().context("no address")?;
        Ok(format!("http://{address}"))
    }

    pub async fn get(&self, path: &str) -> Result<String> {
        let url = format!("{}{path}", self.url().await?);
        Ok(reqwest::get(url).await?.error_for_status()?.text().await?)
    }

    pub async fn status_of(&self, path: &str) -> Result<u16> {
        let url = format!("{}{path}", self.url().await?);
        Ok(reqwest::get(url).await?.status().as_u16())
    }
}
