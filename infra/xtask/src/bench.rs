//! `cargo xtask bench`: measures what things cost, beside what was hoped for.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{files, steps};

#[derive(clap::Subcommand)]
pub enum What {
    /// The operator, on a real API server: times, calls and memory, with up to 1,000
    /// chats. Takes about ten minutes, and wants a machine that does nothing else.
    Operator(Operator),
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
    }
    Ok(ExitCode::SUCCESS)
}

fn operator(args: &Operator) -> Result<()> {
    for [package, target] in [
        ["chat-operator", "--bin=operator"],
        ["chat-kube", "--example=bench_operator"],
    ] {
        steps::run(
            Command::new("cargo")
                .args(["build", "--quiet", "--release", "-p", package, target])
                .current_dir(files::root())
                .env("CARGO_TARGET_DIR", files::target()),
        )?;
    }
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
