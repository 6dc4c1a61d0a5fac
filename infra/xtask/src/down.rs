//! `cargo xtask down`: nothing of this checkout's chat runs afterwards.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use chat_local::kill_leftovers;
use chat_local::process::PidFile;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use crate::files;
use crate::steps::say;

pub async fn run() -> Result<ExitCode> {
    let local = files::local();
    if let Some(up) = PidFile::read(&local.join("up.pid")).filter(PidFile::is_alive) {
        say(&format!(
            "asking `cargo xtask up` (process {}) to stop",
            up.pid
        ));
        kill(Pid::from_raw(up.pid), Signal::SIGTERM)?;
        let deadline = Instant::now() + Duration::from_secs(90);
        while up.is_alive() {
            if Instant::now() > deadline {
                bail!(
                    "Process {} does not stop: end it with `kill -9 {}` and try again.",
                    up.pid,
                    up.pid
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let left = kill_leftovers(&local.join("stack")) + kill_leftovers(&local.join("stores"));
    let _ = std::fs::remove_file(local.join("up.pid"));
    say(&match left {
        0 => "nothing is left running".to_owned(),
        1 => "killed 1 process that was left".to_owned(),
        more => format!("killed {more} processes that were left"),
    });
    Ok(ExitCode::SUCCESS)
}
