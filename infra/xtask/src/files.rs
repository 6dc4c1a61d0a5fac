//! Where things are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
pub use chat_local::cache;
use chat_local::kill_leftovers;
use chat_local::process::PidFile;

/// The root of the checkout. Cargo says at run time which one: two that share a target
/// folder share this program.
pub fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest
        .ancestors()
        .nth(2)
        .map_or(manifest.clone(), PathBuf::from)
}

/// The cargo target folder of everything that xtask builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache().join("target"), PathBuf::from)
}

/// What `up` keeps in the checkout: data, logs, passwords.
pub fn local() -> PathBuf {
    root().join(".local")
}

/// An empty folder for the servers of this run, beside those of other runs.
/// What runs left that have ended is removed, processes too.
pub fn of_this_run(name: &str) -> Result<PathBuf> {
    let all = cache().join(name);
    for left in std::fs::read_dir(&all).into_iter().flatten().flatten() {
        let owner = PidFile::read(&left.path().join("owner.pid"));
        if owner.is_none_or(|owner| !owner.is_alive()) {
            kill_leftovers(&left.path());
            std::fs::remove_dir_all(left.path())?;
        }
    }
    let folder = all.join(std::process::id().to_string());
    std::fs::create_dir_all(&folder)?;
    PidFile::of_this_process().write(&folder.join("owner.pid"))?;
    Ok(folder)
}

/// Empties the well-known folder of servers that runs share. Whoever keeps them
/// running writes `SHARED_READY` last.
pub fn empty_shared(folder: &Path) -> Result<()> {
    if PidFile::read(&folder.join(SHARED_READY)).is_some_and(|it| it.is_alive()) {
        bail!(
            "Shared servers run already in {}: use those, or stop them first.",
            folder.display()
        );
    }
    kill_leftovers(folder);
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("{} cannot be emptied.", folder.display()))?;
    }
    Ok(())
}

/// Names the process that keeps shared servers running; before it is there,
/// nobody takes them for ready.
pub const SHARED_READY: &str = "run/ready.pid";
