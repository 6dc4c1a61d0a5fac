//! One process of messages.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chat_events::Service;
use chat_local::testing::TestCluster;
use tokio::process::{Child, Command};

use super::{log_file, until};

pub struct Replica {
    /// What it said is kept when its test fails.
    log: PathBuf,
    child: Child,
    port: u16,
    admin_port: u16,
}

impl Drop for Replica {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_file(&self.log);
        }
    }
}

/// The binary with the settings of the cluster.
pub fn command(cluster: &TestCluster) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messages"));
    command
        .env_clear()
        .envs(cluster.env(Service::Messages))
        .kill_on_drop(true);
    command
}

impl Replica {
    pub fn start(cluster: &TestCluster, auth_url: &str, pod: &str) -> Self {
        let port = chat_local::ports::free().expect("a free port");
        let admin_port = chat_local::ports::free().expect("a free port");
        let path = log_file(&cluster.name, pod);
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .expect("a log file");
        let child = command(cluster)
            .arg("serve")
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .env("ADMIN_PORT", admin_port.to_string())
            .env("AUTH_URL", auth_url)
            .env("POD_NAME", pod)
            .env("LOG", "info,messages=debug")
            .stdout(Stdio::from(log.try_clone().expect("a log file")))
            .stderr(Stdio::from(log))
            .spawn()
            .expect("the binary starts");
        Self {
            log: path,
            child,
            port,
            admin_port,
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn admin_url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.admin_port)
    }

    pub async fn ready(&self) {
        until("the replica is ready", async || {
            let answer = reqwest::get(self.admin_url("/readyz")).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// A crash.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the process is killed");
    }

    pub async fn pause(&self) {
        self.signal("STOP").await;
    }

    pub async fn resume(&self) {
        self.signal("CONT").await;
    }

    /// Asks the process to end, and waits until it has; returns how long it took.
    pub async fn terminate(&mut self) -> Duration {
        let began = Instant::now();
        self.signal("TERM").await;
        let status = self.child.wait().await.expect("the process ends");
        assert!(status.success(), "{status}");
        began.elapsed()
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("a running process").to_string();
        let status = Command::new("kill")
            .args([format!("-{signal}"), id])
            .status()
            .await
            .expect("kill runs");
        assert!(status.success(), "{status}");
    }
}
