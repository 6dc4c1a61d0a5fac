//! The files of an image, as a tar in which nothing depends on when, where and by
//! whom it was made.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA256, digest};
use tar::{Archive, Builder, EntryType, Header};

/// Uncompressed: what is in it and what is sent then have one digest.
pub struct Layer {
    pub bytes: Vec<u8>,
    /// `sha256:…`
    pub digest: String,
}

impl Layer {
    /// All below a folder.
    pub fn of_folder(root: &Path) -> Result<Self> {
        let mut tar = Builder::new(Vec::new());
        add_folder(&mut tar, root, Path::new(""))?;
        Self::finish(tar)
    }

    /// The entries of another tar, in the order of their names, except those that are
    /// not `wanted`.
    pub fn of_tar(tar: impl Read, wanted: impl Fn(&Path) -> bool) -> Result<Self> {
        let mut entries = Vec::new();
        for entry in Archive::new(tar).entries()? {
            let mut entry = entry?;
            let path = plain(&entry.path()?);
            let (kind, mode) = (entry.header().entry_type(), entry.header().mode()?);
            let mut target = entry.link_name()?.map(|target| target.into_owned());
            if kind == EntryType::Link {
                target = target.map(|target| plain(&target));
            }
            // Another name of what is not wanted is not wanted either.
            let file = target.as_deref().filter(|_| kind == EntryType::Link);
            if path.as_os_str().is_empty() || !wanted(&path) || !file.is_none_or(&wanted) {
                continue;
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            entries.push((path, kind, mode, target, content));
        }
        // A hard link must follow the file that it names.
        entries.sort_by(|(a, kind, ..), (b, other, ..)| {
            (*kind == EntryType::Link, a).cmp(&(*other == EntryType::Link, b))
        });
        let mut tar = Builder::new(Vec::new());
        for (path, kind, mode, target, content) in entries {
            let mut header = header(kind, mode);
            match target {
                Some(target) => tar.append_link(&mut header, path, target)?,
                None => {
                    header.set_size(content.len() as u64);
                    tar.append_data(&mut header, path, content.as_slice())?;
                }
            }
        }
        Self::finish(tar)
    }

    fn finish(tar: Builder<Vec<u8>>) -> Result<Self> {
        let bytes = tar.into_inner()?;
        let digest = sha256(&bytes);
        Ok(Self { bytes, digest })
    }
}

/// `sha256:…`
pub fn sha256(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    let digits = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.fold("sha256:".to_owned(), |all, two| all + &two)
}

fn add_folder(tar: &mut Builder<Vec<u8>>, root: &Path, inside: &Path) -> Result<()> {
    let folder = root.join(inside);
    let mut names = std::fs::read_dir(&folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        let path = inside.join(name);
        let file = root.join(&path);
        let about = std::fs::symlink_metadata(&file)?;
        let mode = about.permissions().mode();
        if about.is_symlink() {
            let mut header = header(EntryType::Symlink, mode);
            tar.append_link(&mut header, &path, std::fs::read_link(&file)?)?;
        } else if about.is_dir() {
            let mut header = header(EntryType::Directory, mode);
            tar.append_data(&mut header, &path, std::io::empty())?;
            add_folder(tar, root, &path)?;
        } else {
            let content = std::fs::read(&file)?;
            let mut header = header(EntryType::Regular, mode);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, &path, content.as_slice())?;
        }
    }
    Ok(())
}

/// Owned by root, without a time, and with what the maker's umask would else decide.
pub fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(match kind {
        EntryType::Symlink => 0o777,
        // As /tmp: everybody writes, and removes only what is theirs.
        EntryType::Directory if mode & 0o1000 != 0 => 0o1777,
        EntryType::Directory => 0o755,
        _ if mode & 0o111 != 0 => 0o755,
        _ => 0o644,
    });
    header
}

/// Without `./`.
fn plain(path: &Path) -> PathBuf {
    let names = path.components();
    names
        .filter(|it| matches!(it, Component::Normal(_)))
        .collect()
}
