//! Programs from Debian's packages, unpacked into the cache and not installed.

use std::path::PathBuf;

use anyhow::ensure;
use chat_local::programs;
use tokio::process::Command;

use super::cache;

/// The folder that has `proof` and everything else of the packages.
pub async fn unpack(name: &str, packages: &[&str], proof: &str) -> anyhow::Result<PathBuf> {
    let folder = cache().join(name);
    let root = folder.join("root");
    if root.join(proof).is_file() {
        return Ok(root);
    }
    let downloads = folder.join("packages");
    std::fs::create_dir_all(&downloads)?;
    eprintln!("downloading {name}");
    let status = Command::new(programs::need("apt-get", "apt")?)
        .arg("download")
        .args(packages)
        .current_dir(&downloads)
        .status()
        .await?;
    ensure!(status.success(), "{name} cannot be had: {status}");
    for package in std::fs::read_dir(&downloads)? {
        let status = Command::new(programs::need("dpkg", "dpkg")?)
            .arg("-x")
            .arg(package?.path())
            .arg(&root)
            .status()
            .await?;
        ensure!(status.success(), "a package cannot be unpacked: {status}");
    }
    std::fs::remove_dir_all(downloads)?;
    Ok(root)
}
