//! Runs the whole chat under load while it is broken, round by round, and judges each
//! history: the program behind `cargo xtask chaos`.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::nemesis;
use chat_e2e::run::{LoadPlan, Outcome, Plan, Sum, run};
use clap::Parser;
use nix::sys::statvfs::statvfs;
use tokio::signal::unix::{SignalKind, signal};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// Of history for each message, with all who see it, in bytes; measured, rounded up.
const PER_MESSAGE: f64 = 8_000.0;
/// For the servers and their logs, in GiB.
const SERVERS: f64 = 3.0;
/// Everybody else's errors end with 1.
const BROKEN: u8 = 3;
const STOPPED: u8 = 130;

#[derive(Parser)]
struct Args {
    /// Of the first round; each further round has the next one.
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    rounds: u64,
    /// Of load in each round.
    #[arg(long)]
    minutes: f64,
    /// Messages in a second, of all people together.
    #[arg(long)]
    rate: f64,
    #[arg(long)]
    people: usize,
    #[arg(long)]
    replicas: usize,
    /// Instead of the one that follows from the seed.
    #[arg(long)]
    schedule: Option<PathBuf>,
    /// Histories of clean rounds are removed from it.
    #[arg(long)]
    folder: PathBuf,
    /// The histories of clean rounds stay as well.
    #[arg(long)]
    keep: bool,
    /// Where the binaries of the services are.
    #[arg(long)]
    programs: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Whoever is stopped drops everything: servers end, and their folders go.
    tokio::select! {
        ended = Box::pin(rounds(args)) => return ended,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("stopped");
    Ok(ExitCode::from(STOPPED))
}

async fn rounds(args: Args) -> anyhow::Result<ExitCode> {
    fs::create_dir_all(&args.folder).with_context(|| args.folder.display().to_string())?;
    check_disk(&args)?;
    let mut outcomes = Vec::new();
    for seed in args.seed..args.seed + args.rounds {
        let plan = plan(&args, seed)?;
        let outcome = Box::pin(run(&plan)).await?;
        eprintln!("{outcome}");
        if outcome.is_clean() && !args.keep {
            fs::remove_file(plan.load.history())?;
        } else {
            eprintln!("  its history is {}", plan.load.history().display());
        }
        note(&args.folder, &outcome)?;
        outcomes.push(outcome);
        let table = Sum(&outcomes).to_string();
        fs::write(args.folder.join("table.md"), &table)?;
    }
    let sum = Sum(&outcomes);
    eprintln!("\n{sum}");
    Ok(if sum.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BROKEN)
    })
}

fn plan(args: &Args, seed: u64) -> anyhow::Result<Plan> {
    let length = Duration::from_secs_f64(args.minutes * 60.0);
    Ok(Plan {
        load: LoadPlan {
            seed,
            rate: args.rate,
            people: args.people,
            folder: args.folder.join(format!("seed-{seed}")),
            // It takes most of a minute; the rounds are long enough for others to go without.
            presence: seed.is_multiple_of(3),
        },
        length,
        replicas: args.replicas,
        schedule: match &args.schedule {
            Some(file) => nemesis::read(file)?,
            None => nemesis::schedule(seed, length, args.replicas),
        },
        programs: args.programs.clone(),
        env: Vec::new(),
    })
}

/// Refuses to start when the largest history would fill the disk.
fn check_disk(args: &Args) -> anyhow::Result<()> {
    let stat = statvfs(&args.folder)?;
    let free = (stat.fragment_size() * stat.blocks_available()) as f64 / GIB;
    let history = args.rate * args.minutes * 60.0 * PER_MESSAGE / GIB;
    let kept = if args.keep { args.rounds as f64 } else { 1.0 };
    let needed = history * kept + SERVERS;
    ensure!(
        free > needed,
        "The disk of {} has {free:.1} GiB left, and the run may take {needed:.1} GiB: free some, or choose a lower --rate or fewer --minutes.",
        args.folder.display()
    );
    Ok(())
}

/// One line for each round.
fn note(folder: &Path, outcome: &Outcome) -> anyhow::Result<()> {
    let path = folder.join("rounds.jsonl");
    let mut file: File = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{}", serde_json::to_string(outcome)?)?;
    Ok(())
}
