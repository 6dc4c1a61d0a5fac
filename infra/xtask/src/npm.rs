//! The two npm projects: the client and the browser tests.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::files;
use crate::steps;

pub fn client() -> PathBuf {
    files::root().join("services/client")
}

pub fn browser_tests() -> PathBuf {
    files::root().join("tests/browser")
}

/// Installs exactly what the lock file says, unless that is what is there.
pub fn install(folder: &PathBuf) -> Result<()> {
    let lock = std::fs::read(folder.join("package-lock.json"))?;
    let stamp = folder.join("node_modules/.installed-lock.json");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    steps::run(npm(folder).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]))?;
    std::fs::write(stamp, lock)?;
    Ok(())
}

/// `npm run SCRIPT -- ARGS`.
pub fn script(folder: &PathBuf, script: &str, args: &[&str]) -> Result<()> {
    steps::run(
        npm(folder)
            .args(["run", "--silent", script, "--"])
            .args(args),
    )
}

fn npm(folder: &PathBuf) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder);
    command
}
