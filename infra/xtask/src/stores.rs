//! `cargo xtask stores`: the shared stores of the tests, for daily work.

use std::process::ExitCode;

use anyhow::Result;
use chat_local::process::PidFile;
use chat_local::testing::{STORES_VARIABLE, shared_stores_folder};
use chat_local::{Stores, StoresHandle};

use crate::{files, signals};

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
    files::empty_shared(&folder)?;
    let stores = Stores::start(&folder).await?;
    PidFile::of_this_process().write(&folder.join(files::SHARED_READY))?;
    let handle = stores.handle();
    Ok((stores, handle))
}

pub async fn stop(stores: Stores) -> Result<()> {
    let folder = stores.handle().folder.clone();
    let _ = std::fs::remove_file(folder.join(files::SHARED_READY));
    stores.stop().await?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
