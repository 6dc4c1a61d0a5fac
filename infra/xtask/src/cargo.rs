//! Cargo, as the parts of this program call it.

use std::process::Command;

use anyhow::Result;

use crate::{files, steps};

pub fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(files::root())
        .env("CARGO_TARGET_DIR", files::target());
    cargo
}

/// Builds every program and example in the profile dev. One choice of packages for all
/// purposes: another one gives their dependencies other features, and compiles them anew.
pub fn build_all() -> Result<()> {
    steps::run(cargo().args(["build", "--quiet", "--workspace", "--bins", "--examples"]))
}
