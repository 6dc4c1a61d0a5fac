//! Brings back what dies though it should run, and says so in its log.

use std::io::Write;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::daemon::Daemon;

/// Pauses between restarts of something that dies at once.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
/// Whoever lived this long starts again without a pause.
const HEALTHY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<()>,
}

impl Supervisor {
    pub fn watch(&mut self, daemon: &Daemon) {
        self.tasks.spawn(supervise(daemon.clone()));
    }

    /// Lets everything that dies from now on stay dead.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    pub(super) fn abort(&mut self) {
        self.tasks.abort_all();
    }
}

async fn supervise(daemon: Daemon) {
    let mut restarts = 0;
    loop {
        daemon.launched().await;
        let started = Instant::now();
        let how = daemon.ended().await;
        if !daemon.is_wanted() {
            restarts = 0;
            continue;
        }
        if started.elapsed() > HEALTHY {
            restarts = 0;
        }
        let pause = PAUSES[restarts.min(PAUSES.len() - 1)];
        restarts += 1;
        say(
            &daemon,
            &format!(
                "{} ended ({how}), it is started again in {pause:?}",
                daemon.name()
            ),
        );
        tokio::time::sleep(pause).await;
        if daemon.is_wanted()
            && let Err(error) = daemon.launch().await
        {
            say(
                &daemon,
                &format!("{} does not start: {error:#}", daemon.name()),
            );
        }
    }
}

/// One line in the log of the daemon, in the form of its own lines.
fn say(daemon: &Daemon, message: &str) {
    tracing::warn!("{message}");
    let line = serde_json::json!({ "level": "WARN", "message": message });
    let log = std::fs::OpenOptions::new().append(true).open(daemon.log());
    // Nothing is lost but the note when the disk is full.
    let _ = log.and_then(|mut log| writeln!(log, "{line}"));
}
