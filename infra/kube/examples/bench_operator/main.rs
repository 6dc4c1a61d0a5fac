//! What the operator costs, on a real API server: `cargo xtask bench operator`.
//!
//! Times are printed beside goals and never asserted; counts are, by the tests.

mod calls;
mod drift;
mod few;
mod floor;
mod many;
mod place;
mod readiness;
mod report;
mod stand_in;
mod usage;
mod wait;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use jiff::Timestamp;

use place::Place;
use report::{Report, mebibytes, to_mebibytes};

#[derive(Parser)]
struct Args {
    /// The operator that is measured.
    #[arg(long)]
    operator: PathBuf,
    /// How much is measured.
    #[arg(long, value_enum, default_value_t = Which::Full)]
    size: Which,
    /// The page that gets the table.
    #[arg(long)]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Full,
    Quick,
    /// For a test: every part once.
    Tiny,
}

/// How much is measured.
struct Size {
    samples: usize,
    starts: usize,
    handovers: usize,
    kills: usize,
    /// Sets of objects that a bare client applies.
    floor: u32,
    damaged_of_a_kind: usize,
    unrelated: usize,
    chats: usize,
    edits: usize,
    idle: Duration,
    /// After how long without a call an operator counts as settled.
    quiet: Duration,
    /// Whether to wait until what was measured before has been removed.
    tidy: bool,
}

impl Size {
    /// Whether a goal for a thousand chats was met: fewer do not tell.
    fn judge(&self, met: bool) -> Option<bool> {
        (self.chats >= 1000).then_some(met)
    }

    fn of(which: Which) -> Self {
        match which {
            Which::Full => Self {
                samples: 30,
                starts: 5,
                handovers: 5,
                kills: 2,
                floor: 20,
                damaged_of_a_kind: 20,
                unrelated: 600,
                chats: 1000,
                edits: 100,
                idle: Duration::from_secs(60),
                quiet: Duration::from_secs(2),
                tidy: true,
            },
            Which::Quick => Self {
                samples: 5,
                starts: 3,
                handovers: 2,
                kills: 1,
                floor: 5,
                damaged_of_a_kind: 4,
                unrelated: 60,
                chats: 50,
                edits: 20,
                idle: Duration::from_secs(10),
                quiet: Duration::from_secs(2),
                tidy: true,
            },
            Which::Tiny => Self {
                samples: 1,
                starts: 1,
                handovers: 1,
                kills: 0,
                floor: 1,
                damaged_of_a_kind: 1,
                unrelated: 2,
                chats: 2,
                edits: 1,
                idle: Duration::from_secs(2),
                quiet: Duration::from_secs(1),
                tidy: false,
            },
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let begin = Instant::now();
    let mut report = Report::default();
    report.value("bench", "operator");
    let kind = format!("{:?}", args.size).to_lowercase();
    report.value("size", kind.clone());
    report.value("at", Timestamp::now().to_string());
    report.value("commit", commit());
    report.value("cores", usage::cores());
    let settings = "etcd without fsync, audit log on, TLS, all processes on one machine";
    report.value("settings", settings);

    let size = Size::of(args.size);
    let place = Box::pin(Place::start(&args.operator, size.quiet)).await?;
    sizes(&place, &mut report).await?;
    Box::pin(few::run(&place, &size, &mut report)).await?;
    Box::pin(many::run(&place, &size, &mut report)).await?;

    report.note(format!(
        "A {kind} run at commit {}: {} cores, {settings}; {:.0} minutes in all.",
        commit().get(..12).unwrap_or_default(),
        usage::cores(),
        begin.elapsed().as_secs_f64() / 60.0
    ));
    if let Some(page) = &args.write {
        report.write(page)?;
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{report}\n{}", report.json())?;
    Ok(())
}

/// How large what is delivered is.
async fn sizes(place: &Place, report: &mut Report) -> Result<()> {
    let definition = place.printed(&["crd"]).await?.len();
    report.goal(
        "Definition of ChatCluster",
        "< 100 kB",
        format!("{} kB", definition.div_ceil(1000)),
        definition < 100_000,
    );
    let stripped = place.plane.folder.join("stripped");
    let strip = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(place.program())
        .status()
        .context("strip comes with every linker")?;
    ensure!(strip.success(), "strip: {strip}");
    let program = std::fs::metadata(stripped)?.len();
    report.goal(
        "Program without symbols",
        "≤ 20 MiB",
        mebibytes(program),
        to_mebibytes(program) <= 20.0,
    );
    report.value("definition_bytes", definition);
    report.value("program_bytes", program);
    Ok(())
}

fn commit() -> String {
    let asked = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let said = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.unwrap_or_default()
}
