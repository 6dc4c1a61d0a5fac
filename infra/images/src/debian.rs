//! A root file system made of Debian's packages, unpacked and not installed: no script
//! of a package runs, so the same packages give the same files, and no root is needed.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use chat_local::programs;

use crate::layer::{Layer, sha256};

/// The release, and so the versions, that tests know.
const RELEASE: &str = "bookworm";
/// A shell, and the programs and the locale that scripts take for granted.
const BASE: &str = "base-files,coreutils,dash,grep,libc-bin,sed";
/// Of no use to a program that runs.
const UNWANTED: &[&str] = &[
    "boot",
    "dev",
    "etc/apt",
    "etc/hostname",
    "etc/resolv.conf",
    "usr/include",
    "usr/share/bash-completion",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib/apt",
    "var/lib/dpkg",
];

/// Names what [`unpack`] makes by a recipe, for a cache.
pub fn key(recipe: &str) -> String {
    let recipe = [recipe, include_str!("debian.rs")].concat();
    sha256(recipe.as_bytes()).trim_start_matches("sha256:")[..16].to_owned()
}

/// The packages, separated by commas, and all that they depend on; less what starts
/// with one of `without`.
pub fn unpack(packages: &str, without: &[&str]) -> Result<Layer> {
    let mmdebstrap = programs::need("mmdebstrap", "mmdebstrap")?;
    let mut command = Command::new(mmdebstrap);
    command
        .args(["--variant=extract", "--format=tar", "--quiet"])
        .arg("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr")
        .arg(format!("--include={BASE},{packages}"))
        .args([RELEASE, "-"])
        // No file is younger.
        .env("SOURCE_DATE_EPOCH", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let said = child.stderr.take().context("no output")?;
    let said = std::thread::spawn(move || std::io::read_to_string(said));
    let tar = child.stdout.take().context("no output")?;
    let layer = Layer::of_tar(tar, |path| is_wanted(path, without));
    let status = child.wait()?;
    let said = said.join().ok().and_then(Result::ok).unwrap_or_default();
    ensure!(status.success(), "{packages} cannot be unpacked: {said}");
    layer
}

fn is_wanted(path: &Path, without: &[&str]) -> bool {
    // Only scripts of packages need it.
    if path
        .iter()
        .any(|name| name == "perl" || name == "perl5" || name == "perl-base")
    {
        return false;
    }
    let path = path.to_string_lossy();
    !UNWANTED.contains(&path.as_ref())
        && !UNWANTED
            .iter()
            .any(|it| path.strip_prefix(it).is_some_and(|it| it.starts_with('/')))
        && !without.iter().any(|start| path.starts_with(start))
}
