//! `cargo xtask images`: container images without a container engine.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;
use chat_images::{Image, PROGRAMS};

use crate::cargo::{build_all, cargo};
use crate::steps::{self, say};
use crate::{files, npm, packages};

#[derive(clap::Args)]
pub struct Args {
    /// The tag of the images.
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    version: String,
    /// Cargo's profile: dev is built in the shortest time, dist makes the smallest images.
    #[arg(long, default_value = "release")]
    profile: String,
    /// Make what test clusters run besides, too: three stores and an ingress controller.
    #[arg(long)]
    tests: bool,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    let mut images = build(&args.profile, &args.version)?;
    if args.tests {
        images.extend(build_for_tests(&args.profile)?);
    }
    for image in &images {
        say(&format!("{}@{}", image.name, image.digest));
        say(&format!("  {}", image.archive.display()));
    }
    let seconds = started.elapsed().as_secs_f64();
    say(&format!("{} images ({seconds:.1} s)", images.len()));
    Ok(ExitCode::SUCCESS)
}

/// The seven images of the product, of this checkout.
pub fn build(profile: &str, version: &str) -> Result<Vec<Image>> {
    packages::install(&packages::IMAGES)?;
    let programs = compile(profile, &PROGRAMS)?;
    npm::install(&npm::client())?;
    steps::output(
        Command::new("npm")
            .args(["run", "--silent", "build"])
            .current_dir(npm::client()),
    )?;
    chat_images::chat(&programs, &npm::client().join("dist"), version)
}

/// The stores and the ingress controller of test clusters.
pub fn build_for_tests(profile: &str) -> Result<Vec<Image>> {
    let mut images = vec![build_ingress(profile)?];
    images.extend(chat_images::stores()?);
    Ok(images)
}

pub fn build_ingress(profile: &str) -> Result<Image> {
    packages::install(&packages::IMAGES)?;
    let programs = compile(profile, &["ingress"])?;
    chat_images::ingress(&programs.join("ingress"))
}

/// Builds programs, and gives the folder that they are in.
pub fn compile(profile: &str, programs: &[&str]) -> Result<PathBuf> {
    if profile == "dev" {
        build_all()?;
        return Ok(files::target().join("debug"));
    }
    let packages = programs.iter().map(|it| format!("--package=chat-{it}"));
    steps::run(cargo().args(["build", "--profile", profile]).args(packages))?;
    Ok(files::target().join(profile))
}
