//! `cargo xtask stores`: the shared stores of the tests, for daily work.

use std::process::ExitCode;

use anyhow::{Context, Result};
use chat_local::process::PidFile;
use chat_local::testing::{STORES_VARIABLE, shared_stores_folder};
use chat_local::{Stores, StoresHandle};

use crate::signals;

pub async fn run() -> Result<ExitCode> {
    let stopping = signals::stop_requested()?;
    let (stores, handle) = start().await?;
    eprintln!("The shared stores run. Tests find them by themselves, or by");
    eprintln!("  export {STORES_VARIABLE}={}", handle.file().display());
    stopping.cancelled().await;
    stop(stores).await?;
    Ok(ExitCode::SUCCESS)
}

/// Starts an empty set in its well-known folder.
pub async fn start() -> Result<(Stores, StoresHandle)> {
    let folder = shared_stores_folder();
    if PidFile::read(&folder.join("run/ready.pid")).is_some_and(|it| it.is_alive()) {
        anyhow::bail!(
            "Shared stores run already in {}: use those, or stop them first.",
            folder.display()
        );
    }
    chat_local::kill_leftovers(&folder);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("{} cannot be emptied.", folder.display()))?;
    }
    let stores = Stores::start(&folder).await?;
    // The last word: before it nobody takes these stores for ready.
    PidFile::of_this_process().write(&folder.join("run/ready.pid"))?;
    let handle = stores.handle();
    Ok((stores, handle))
}

pub async fn stop(stores: Stores) -> Result<()> {
    let folder = stores.handle().folder.clone();
    let _ = std::fs::remove_file(folder.join("run/ready.pid"));
    stores.stop().await?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
