//! `cargo xtask chaos`: the chat under load while it is broken, and a verdict.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result, bail, ensure};
use chat_events::Service;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cargo::cargo;
use crate::steps::{self, say, timed};
use crate::{files, packages, signals, tools};

#[derive(clap::Args)]
pub struct Args {
    /// What is struck when, and who does what; each further round has the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Minutes of load, in rounds of five at most: each has servers of its own.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Messages in a second, of all people together.
    #[arg(long, default_value_t = 300.0)]
    rate: f64,
    #[arg(long, default_value_t = 240)]
    people: usize,
    /// Pods of each service.
    #[arg(long, default_value_t = 2)]
    replicas: usize,
    /// Strike as this file says: `schedule.jsonl` of an earlier run.
    #[arg(long)]
    schedule: Option<PathBuf>,
    /// An hour: more than a hundred kills, and a million messages.
    #[arg(long, conflicts_with_all = ["minutes", "schedule"])]
    long: bool,
    /// Put the table of results into docs/reliability.md when the run is clean.
    #[arg(long, requires = "long")]
    write: bool,
    /// Keep the histories of clean rounds as well.
    #[arg(long)]
    keep: bool,
    /// Instead, plant each bug in the services and hunt it: some twenty minutes.
    #[arg(long, exclusive = true)]
    planted: bool,
}

const LONG: f64 = 60.0;
const ROUND: f64 = 5.0;
/// With which `tests/examples/chaos.rs` ends when a promise was broken.
const BROKEN: i32 = 3;
const BEGIN: &str = "<!-- chaos: written by `cargo xtask chaos --write` -->\n";
const END: &str = "<!-- chaos: end -->";

pub async fn run(args: Args) -> Result<ExitCode> {
    packages::install(&packages::STORES)?;
    if args.planted {
        return hunt().await;
    }
    ensure!(
        args.minutes > 0.0 && args.rate > 0.0,
        "--minutes and --rate must be more than 0."
    );
    build().await?;
    let minutes = if args.long { LONG } else { args.minutes };
    // A schedule is of one round.
    let rounds = match &args.schedule {
        Some(_) => 1,
        None => (minutes / ROUND).ceil() as u64,
    };
    let release = files::target().join("release");
    let folder = folder()?;
    say(&format!(
        "  {rounds} rounds; histories, schedules and logs are in {}",
        folder.display()
    ));
    let mut chaos = Command::new(release.join("examples/chaos"));
    for (name, value) in [
        ("--seed", args.seed.to_string()),
        ("--rounds", rounds.to_string()),
        ("--minutes", (minutes / rounds as f64).to_string()),
        ("--rate", args.rate.to_string()),
        ("--people", args.people.to_string()),
        ("--replicas", args.replicas.to_string()),
    ] {
        chaos.args([name, value.as_str()]);
    }
    chaos.arg("--folder").arg(&folder);
    if let Some(schedule) = &args.schedule {
        chaos.arg("--schedule").arg(schedule);
    }
    if args.keep {
        chaos.arg("--keep");
    }
    let status = to_its_end(chaos).await?;
    let folder_name = folder.display();
    match status.code() {
        Some(0) => say("  every promise was kept"),
        Some(BROKEN) => bail!("a promise was broken: see {folder_name}"),
        _ => bail!("the run did not come to its end ({status}): see {folder_name}"),
    }
    if args.write {
        write_table(&folder)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All of `tests/tests/chaos_planted_bugs.rs`, one after the other.
async fn hunt() -> Result<ExitCode> {
    let mut nextest = Command::new(tools::NEXTEST.install()?);
    nextest
        .args(["nextest", "run", "--profile", "xtask", "--no-capture"])
        .args(["--package", "chat-e2e", "--test", "chaos_planted_bugs"])
        .current_dir(files::root())
        .env("CARGO_TARGET_DIR", files::target());
    Ok(if to_its_end(nextest).await?.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whoever is asked to stop asks the program as well, and waits: it has servers to end.
async fn to_its_end(program: Command) -> Result<ExitStatus> {
    let stopping = signals::stop_requested()?;
    let name = program.get_program().to_string_lossy().into_owned();
    let mut child = tokio::process::Command::from(program)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let pid = child.id().context("it has ended already")?;
    tokio::select! {
        status = child.wait() => return Ok(status?),
        () = stopping.cancelled() => kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?,
    }
    Ok(child.wait().await?)
}

async fn build() -> Result<()> {
    say("  building the five services and the run; the first time takes some minutes");
    timed("services and run built", async {
        let services = Service::ALL.map(|service| format!("--package=chat-{}", service.name()));
        let bins = ["build", "--release", "--quiet", "--bins"];
        steps::run(cargo().args(bins).args(services))?;
        let run = ["build", "--release", "--quiet", "--package=chat-e2e"];
        steps::run(cargo().args(run).args(["--example", "chaos"]))
    })
    .await
}

/// An empty one. Those of earlier runs stay: they may hold counter-examples.
fn folder() -> Result<PathBuf> {
    let all = files::cache().join("chaos");
    for number in 1.. {
        let folder = all.join(format!("run-{number}"));
        if !folder.exists() {
            std::fs::create_dir_all(&folder)?;
            return Ok(folder);
        }
    }
    bail!("{} is full of runs", all.display())
}

/// Between the two marks.
fn write_table(folder: &Path) -> Result<()> {
    let page = files::root().join("docs/reliability.md");
    let table = std::fs::read_to_string(folder.join("table.md"))?;
    let text = std::fs::read_to_string(&page)?;
    let parts = text
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        bail!("{} has no place for the table", page.display());
    };
    std::fs::write(&page, format!("{before}{BEGIN}\n{table}\n{END}{after}"))?;
    Ok(())
}
