//! `cargo xtask bench`: measures what things cost, beside what was hoped for.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;
use chat_images::PROGRAMS;

use crate::{files, images, packages, steps};

#[derive(clap::Subcommand)]
pub enum What {
    /// The operator, on a real API server: times, calls and memory, with up to 1,000
    /// chats. Takes about ten minutes, and wants a machine that does nothing else.
    Operator(Operator),
    /// The chat: floor, direct, room, idle, history, presence, storm, start, signin, day,
    /// peers and report; `cargo xtask bench chat --help` tells of each.
    #[command(external_subcommand)]
    Chat(Vec<OsString>),
}

#[derive(clap::Args)]
pub struct Operator {
    /// 50 chats instead of 1,000, and fewer of everything: two minutes.
    #[arg(long)]
    quick: bool,
    /// Put the table into docs/operator.md.
    #[arg(long)]
    write: bool,
}

pub fn run(what: &What) -> Result<ExitCode> {
    match what {
        What::Operator(args) => operator(args)?,
        What::Chat(words) => chat(words)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// `tests/bench` knows its own words.
fn chat(words: &[OsString]) -> Result<()> {
    packages::install(&packages::STORES)?;
    images::compile("release", &PROGRAMS)?;
    release("chat-bench", "--bins")?;
    let words = words.iter().filter(|word| *word != "chat");
    steps::run(
        Command::new(files::target().join("release/chat-bench"))
            .args(words)
            .current_dir(files::root()),
    )
}

fn operator(args: &Operator) -> Result<()> {
    release("chat-operator", "--bin=operator")?;
    release("chat-kube", "--example=bench_operator")?;
    let programs = files::target().join("release");
    let mut bench = Command::new(programs.join("examples/bench_operator"));
    bench
        .arg("--operator")
        .arg(programs.join("operator"))
        .current_dir(files::root());
    if args.quick {
        bench.args(["--size", "quick"]);
    }
    if args.write {
        bench.arg("--write").arg("docs/operator.md");
    }
    steps::run(&mut bench)
}

fn release(package: &str, target: &str) -> Result<()> {
    steps::run(
        Command::new("cargo")
            .args(["build", "--quiet", "--release", "-p", package, target])
            .current_dir(files::root())
            .env("CARGO_TARGET_DIR", files::target()),
    )
}
