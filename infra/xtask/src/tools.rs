//! Cargo tools of pinned versions, built once into the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::files;
use crate::steps;

/// Test runner: a process per test, and a report.
pub const NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    version: "0.9.151",
};
/// Licences, sources and unwanted crates.
pub const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
};

pub struct Tool {
    name: &'static str,
    version: &'static str,
}

impl Tool {
    /// The program; built from source when it is not in the cache.
    pub fn install(&self) -> Result<PathBuf> {
        let folder = files::cache().join("tools");
        let program = folder.join("bin").join(self.name);
        let installed = Command::new(&program)
            .arg("--version")
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(self.version));
        if !installed {
            steps::say(&format!(
                "building {} {} once, for the cache (some minutes)",
                self.name, self.version
            ));
            steps::run(
                Command::new("cargo")
                    .args(["install", "--quiet", "--locked", "--force", "--root"])
                    .arg(&folder)
                    .arg(format!("{}@{}", self.name, self.version))
                    .env("CARGO_TARGET_DIR", files::cache().join("tools-target")),
            )
            .with_context(|| format!("cannot build {}", self.name))?;
        }
        Ok(program)
    }
}
