//! `cargo xtask`: the one list of commands.

mod bench;
mod cargo;
mod chaos;
mod cluster;
mod demo;
mod down;
mod files;
mod generate;
mod images;
mod kube;
mod logs;
mod npm;
mod packages;
mod readme;
mod report;
mod signals;
mod steps;
mod stores;
mod test;
mod tools;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Everything one does with this repository"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and run a chat on this machine, until Ctrl-C.
    Up(up::Args),
    /// Clean up what a crashed `up` left running.
    Down,
    /// Install what the tests need and run all of them.
    Test(test::Args),
    /// A Kubernetes cluster on this machine, to run the chat in Pods.
    Cluster {
        #[command(subcommand)]
        what: cluster::What,
    },
    /// Make container images without a container engine.
    Images(images::Args),
    /// Break everything under load, and prove that nothing acknowledged is lost.
    Chaos(chaos::Args),
    /// Measure what something costs, beside what was hoped for.
    Bench {
        #[command(subcommand)]
        what: bench::What,
    },
    /// Write every generated file anew.
    Generate {
        /// Change nothing; fail when a file is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Keep the stores that tests share running, until Ctrl-C.
    Stores,
    /// Keep the Kubernetes control plane that tests share running, until Ctrl-C.
    Kube,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Up(args) => Box::pin(up::run(args)).await,
        Command::Down => down::run().await,
        Command::Test(args) => test::run(args).await,
        Command::Cluster { what } => cluster::run(what).await,
        Command::Images(args) => images::run(&args),
        Command::Chaos(args) => chaos::run(args).await,
        Command::Bench { what } => bench::run(&what),
        Command::Generate { check } => generate::run(check),
        Command::Stores => stores::run().await,
        Command::Kube => kube::run().await,
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
