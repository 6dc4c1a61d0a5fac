//! The services with their bugs, under names of their own.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chat_events::Service;
use tokio::process::Command;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Builds what is not built yet, and returns a folder with each program under the
/// name of its service. Those of everybody else stay as they are.
pub async fn build() -> anyhow::Result<PathBuf> {
    let debug = debug_folder()?;
    let target = debug.parent().context("no target folder")?;
    eprintln!("building the services with planted bugs; the first time takes some minutes");
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(REPOSITORY).arg("build");
    // Of the whole workspace, so that the libraries are those of every other build.
    cargo.args(["--quiet", "--workspace", "--target-dir"]);
    cargo.arg(target);
    for service in Service::ALL {
        let name = service.name();
        cargo.args(["--bin", &planted(service)]);
        cargo.args(["--features", &format!("chat-{name}/planted")]);
    }
    let status = cargo.status().await.context("cargo")?;
    ensure!(status.success(), "cargo ended with {status}");
    let folder = debug.join("planted-bugs");
    std::fs::create_dir_all(&folder)?;
    for service in Service::ALL {
        link(&debug.join(planted(service)), &folder.join(service.name()))?;
    }
    Ok(folder)
}

fn planted(service: Service) -> String {
    format!("{}-planted", service.name())
}

/// Where Cargo puts programs; tests lie one folder deeper.
fn debug_folder() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let deps = this.ancestors().find(|folder| folder.ends_with("deps"));
    let debug = deps.and_then(Path::parent);
    Ok(debug.context("this is no test")?.to_owned())
}

/// Two tests may do it at once.
fn link(program: &Path, name: &Path) -> std::io::Result<()> {
    if std::fs::read_link(name).is_ok_and(|known| known == program) {
        return Ok(());
    }
    let new = name.with_extension(std::process::id().to_string());
    std::os::unix::fs::symlink(program, &new)?;
    std::fs::rename(new, name)
}
