//! `docs/performance.md` and its plots, from the newest run of each benchmark.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use crate::paper;
use crate::plot;
use crate::record::{self, Run};

const METHOD: &str = include_str!("method.md");
const GOALS: &str = include_str!("goals.md");
const STEPS: &str = include_str!("steps.md");

#[derive(clap::Args)]
pub struct Args {
    /// The folder of documents.
    #[arg(long, default_value = "docs")]
    docs: PathBuf,
}

/// By benchmark, then variant and system.
type Newest = BTreeMap<String, BTreeMap<(String, String), Run>>;

pub fn run(args: &Args) -> anyhow::Result<()> {
    let newest = newest(record::all()?);
    let plots = args.docs.join("performance");
    fs::create_dir_all(&plots)?;
    let mut page = format!("{METHOD}\n");
    for (bench, runs) in &newest {
        let drawn = draw(bench, runs);
        for (name, svg) in &drawn {
            fs::write(plots.join(name), svg)?;
        }
        let names: Vec<&str> = drawn.iter().map(|(name, _)| name.as_str()).collect();
        section(&mut page, bench, runs, &names);
    }
    let of = |bench: &str, start: &str| {
        let runs = newest.get(bench)?.values();
        // Of several, the largest.
        runs.filter(|run| run.variant.starts_with(start))
            .max_by(|one, other| one.units.total_cmp(&other.units))
    };
    let paper = paper::section(of("idle", ""), of("direct", "8 outstanding"));
    page.push_str(&paper.unwrap_or_default());
    page.push_str(STEPS);
    page.push_str(GOALS);
    let file = args.docs.join("performance.md");
    fs::write(&file, page)?;
    writeln!(std::io::stdout(), "{}", file.display())?;
    Ok(())
}

/// The newest that counts; without any, the newest.
fn newest(runs: Vec<Run>) -> Newest {
    let mut newest = Newest::new();
    for run in runs {
        let key = (run.variant.clone(), run.system.clone());
        let of_bench = newest.entry(run.bench.clone()).or_default();
        let better = of_bench
            .get(&key)
            .is_none_or(|known| run.counts() >= known.counts());
        if better {
            of_bench.insert(key, run);
        }
    }
    newest
}

fn section(page: &mut String, bench: &str, runs: &BTreeMap<(String, String), Run>, plots: &[&str]) {
    let _ = writeln!(page, "## {bench}\n");
    for plot in plots {
        let _ = writeln!(page, "![{bench}](performance/{plot})\n");
    }
    if bench == "floor" {
        page.push_str("| floor | unit | µs of the server | µs of its client | a second |\n| --- | --- | --- | --- | --- |\n");
        for run in runs.values() {
            let figure = |name: &str| run.figures.get(name).copied().unwrap_or_default();
            let _ = writeln!(
                page,
                "| {} | {} | {:.2} | {:.2} | {:.0} |",
                run.variant,
                run.unit,
                figure("server µs"),
                figure("client µs"),
                run.units
            );
        }
    } else {
        costs(page, runs);
        latencies(page, runs);
        counters(page, runs);
        figures(page, runs);
    }
    let mut told: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for run in runs.values() {
        let machine = &run.machine;
        let words = format!(
            "`{}`, {}, commit `{}`; {} processors ({}), {} GiB, Linux {}",
            run.command,
            run.at.strftime("%Y-%m-%d %H:%M UTC"),
            run.commit,
            machine.processors,
            machine.model,
            machine.memory_gib,
            machine.kernel
        );
        told.entry(words).or_default().push(&run.variant);
    }
    page.push('\n');
    for (words, variants) in told {
        let _ = writeln!(page, "- {words}: {}", variants.join("; "));
    }
    for run in runs.values() {
        for note in run.notes.iter().chain(&run.against) {
            let _ = writeln!(page, "- {} ({}): {note}", run.variant, run.system);
        }
    }
    page.push('\n');
}

fn costs(page: &mut String, runs: &BTreeMap<(String, String), Run>) {
    page.push_str("| what | of | µs of CPU per unit | floor, µs | floor / result | units a second | load client | strangers | counts |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for run in runs.values() {
        let (floor, ratio) = match run.floor_us {
            Some(floor) => (format!("{floor:.1}"), format!("{:.2}", floor / run.cpu_us)),
            None => ("–".to_owned(), "–".to_owned()),
        };
        let _ = writeln!(
            page,
            "| {} | {} | **{:.2}** per {} | {floor} | {ratio} | {:.0} | {:.0} % | {:.0} % | {} |",
            run.variant,
            run.system,
            run.cpu_us,
            run.unit,
            run.per_second(),
            run.load_share * 100.0,
            run.foreign_share * 100.0,
            if run.counts() { "yes" } else { "no" }
        );
    }
    page.push_str("\n| what | of | µs per unit of each part |\n| --- | --- | --- |\n");
    for run in runs.values() {
        let parts: Vec<String> = run
            .cpu_us_by_part
            .iter()
            .filter(|(_, us)| **us >= 0.005)
            .map(|(part, us)| format!("{part} {us:.2}"))
            .collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            run.variant,
            run.system,
            parts.join(", ")
        );
    }
}

fn latencies(page: &mut String, runs: &BTreeMap<(String, String), Run>) {
    if runs.values().all(|run| run.latency.is_empty()) {
        return;
    }
    page.push_str("\n| what | of | until | p50, ms | p99 | p99.9 | most |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for run in runs.values() {
        for (name, latency) in &run.latency {
            let ms = |us: u64| us as f64 / 1_000.0;
            let _ = writeln!(
                page,
                "| {} | {} | {name} | {:.2} | {:.2} | {:.2} | {:.2} |",
                run.variant,
                run.system,
                ms(latency.p50),
                ms(latency.p99),
                ms(latency.p999),
                ms(latency.max)
            );
        }
    }
}

fn counters(page: &mut String, runs: &BTreeMap<(String, String), Run>) {
    if runs.values().all(|run| run.counters.is_empty()) {
        return;
    }
    page.push_str("\n| what | counted for 1,000 units |\n| --- | --- |\n");
    for run in runs.values().filter(|run| !run.counters.is_empty()) {
        let counters: Vec<String> = run
            .counters
            .iter()
            .map(|(name, count)| format!("{name} {count:.1}"))
            .collect();
        let _ = writeln!(page, "| {} | {} |", run.variant, counters.join(", "));
    }
}

fn figures(page: &mut String, runs: &BTreeMap<(String, String), Run>) {
    if runs.values().all(|run| run.figures.is_empty()) {
        return;
    }
    page.push_str("\n| what | of | figures |\n| --- | --- | --- |\n");
    for run in runs.values().filter(|run| !run.figures.is_empty()) {
        let figures: Vec<String> = run
            .figures
            .iter()
            .map(|(name, figure)| format!("{name} {figure:.2}"))
            .collect();
        let _ = writeln!(
            page,
            "| {} | {} | {} |",
            run.variant,
            run.system,
            figures.join(", ")
        );
    }
}

/// Plots by file name.
fn draw(bench: &str, runs: &BTreeMap<(String, String), Run>) -> Vec<(String, String)> {
    let mut drawn = Vec::new();
    if bench == "floor" {
        return drawn;
    }
    let bars: Vec<_> = runs
        .values()
        .filter(|run| run.cpu_us > 0.0)
        .map(|run| {
            let name = format!("{} ({})", run.variant, run.system);
            (name, run.cpu_us, format!("{:.1} µs", run.cpu_us))
        })
        .collect();
    if !bars.is_empty() {
        let title = format!("{bench}: microseconds of CPU per unit, less is better");
        drawn.push((format!("{bench}-cpu.svg"), plot::bars(&title, &bars)));
    }
    let ratios: Vec<_> = runs
        .values()
        .filter_map(|run| {
            let ratio = run.floor_us? / run.cpu_us;
            let name = format!("{} ({})", run.variant, run.system);
            Some((name, ratio, format!("{ratio:.2}")))
        })
        .collect();
    if !ratios.is_empty() {
        let title = format!("{bench}: floor / result, 1 is the physical limit");
        drawn.push((format!("{bench}-floor.svg"), plot::bars(&title, &ratios)));
    }
    let curves: Vec<plot::Curve> = runs
        .values()
        .flat_map(|run| {
            run.latency.iter().map(move |(name, latency)| {
                let points = [
                    (2.0, latency.p50),
                    (100.0, latency.p99),
                    (1_000.0, latency.p999),
                ];
                let points = points.map(|(one_in, us)| (one_in, us.max(1) as f64 / 1_000.0));
                (
                    format!("{}, {name} ({})", run.variant, run.system),
                    points.to_vec(),
                )
            })
        })
        .collect();
    if !curves.is_empty() {
        let title = format!("{bench}: latency");
        let (across, up) = ("one in so many is slower", "ms");
        drawn.push((
            format!("{bench}-latency.svg"),
            plot::curves(&title, across, up, &curves),
        ));
    }
    drawn
}
