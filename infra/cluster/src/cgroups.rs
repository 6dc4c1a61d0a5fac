//! The control groups of one node: they alone outlive its namespaces.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::wait_until;

const ALL: &str = "/sys/fs/cgroup";
const CONTROLLERS: [&str; 6] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"];

/// One group of this name in each hierarchy, for the kubelet to put the Pods below.
pub fn make(name: &str) -> Result<()> {
    let root = Path::new(ALL);
    if root.join("cgroup.controllers").exists() {
        for controller in CONTROLLERS {
            // Not every kernel has each, and the kubelet says what it cannot do without.
            let _ = std::fs::write(
                root.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
        }
    }
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(name);
        match std::fs::create_dir(&group) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => made.with_context(|| format!("{} cannot be made", group.display()))?,
        }
    }
    Ok(())
}

/// Waits for the last process to be gone.
pub fn remove(name: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(name);
        let gone = || remove_tree(&group).is_ok();
        if !wait_until(Duration::from_secs(20), gone) {
            remove_tree(&group).with_context(|| format!("{} stays", group.display()))?;
        }
    }
    Ok(())
}

fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = PathBuf::from(ALL);
    if root.join("cgroup.procs").exists() {
        return Ok(vec![root]);
    }
    let entries = std::fs::read_dir(&root).context("this machine has no control groups")?;
    Ok(entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("cgroup.procs").exists())
        .collect())
}

/// Their files are no files: only the folders can be removed, the innermost first.
fn remove_tree(group: &Path) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(group)
}
