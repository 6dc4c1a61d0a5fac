//! Ctrl-C and `kill`, once to stop in order and twice to stop at once.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that is cancelled when somebody wants us to stop. The second request
/// ends the process; the kernel then kills its children.
pub fn stop_requested() -> Result<CancellationToken> {
    let token = CancellationToken::new();
    let asked = token.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // Ends with the process: a signal handler has no earlier end.
    drop(tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            if asked.is_cancelled() {
                eprintln!("Stopping at once.");
                std::process::exit(130);
            }
            asked.cancel();
        }
    }));
    Ok(token)
}
