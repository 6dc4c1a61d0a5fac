//! Folders, and the plain sentence for a disk that is full.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const NEEDED_MIB: u64 = 500;

/// Refuses to start on a disk on which a database would soon stop.
pub fn check_free(folder: &Path) -> Result<()> {
    let stat = nix::sys::statvfs::statvfs(folder)
        .with_context(|| format!("The folder {} cannot be read.", folder.display()))?;
    let free = stat.fragment_size() * stat.blocks_available() / (1024 * 1024);
    if free < NEEDED_MIB {
        bail!(
            "The disk of {} has only {free} MiB left: free at least {NEEDED_MIB} MiB and try again.",
            folder.display()
        );
    }
    Ok(())
}

/// Where built and shared things are that outlive a checkout.
pub fn cache() -> PathBuf {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("chatcluster")
}

pub fn create(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| write_failed(folder))
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    // Written beside and renamed, so that a reader never sees half of it.
    let draft = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .with_context(|| write_failed(&draft))?;
    file.write_all(content.as_ref())
        .and_then(|()| std::fs::rename(&draft, path))
        .with_context(|| write_failed(path))
}

/// Whether other users may pass through every folder above.
pub fn open_to_others(folder: &Path) -> bool {
    folder.ancestors().skip(1).all(|parent| {
        parent.as_os_str().is_empty()
            || std::fs::metadata(parent).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0)
    })
}

pub fn write_failed(path: &Path) -> String {
    format!(
        "{} cannot be written: check its permissions and that the disk is not full.",
        path.display()
    )
}
