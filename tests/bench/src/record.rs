//! One run: a line of JSON for the report, and a table for whoever waits.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use chat_e2e::load::usage::Spent;
use hdrhistogram::Histogram;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::floor::Floor;
use crate::machine::{self, Machine};

/// A run whose floors moved by more than this says nothing.
const DRIFT: f64 = 0.20;
/// So much work of strangers makes a run worth a repetition.
const FOREIGN: f64 = 0.10;
/// A load client that needs more of the machine limits what it measures.
const LOAD: f64 = 0.45;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub at: Timestamp,
    pub commit: String,
    /// With which it was made.
    pub command: String,
    pub bench: String,
    /// Of several within one benchmark.
    pub variant: String,
    /// Of whom: ours, or a peer.
    pub system: String,
    /// What was counted: message, delivery, page.
    pub unit: String,
    pub units: f64,
    pub seconds: f64,
    /// Microseconds of everything behind the socket, for one unit.
    pub cpu_us: f64,
    pub cpu_us_by_part: BTreeMap<String, f64>,
    /// Of all processors.
    pub load_share: f64,
    pub foreign_share: f64,
    /// By name, in microseconds.
    pub latency: BTreeMap<String, Latency>,
    /// Before and after.
    pub floors: BTreeMap<String, (f64, f64)>,
    /// What the floors would make of one unit, in microseconds.
    pub floor_us: Option<f64>,
    /// For each thousand units.
    pub counters: BTreeMap<String, f64>,
    /// Whatever else there is to tell, with its unit in its name.
    pub figures: BTreeMap<String, f64>,
    /// Facts that the checker held against each promise.
    pub facts: Vec<(String, u64)>,
    pub machine: Machine,
    pub settings: BTreeMap<String, String>,
    /// Why it does not count; nothing is good.
    pub against: Vec<String>,
    /// What is to be known when it is read.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub count: u64,
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Latency {
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

impl Run {
    pub fn new(bench: &str, variant: &str, unit: &str) -> anyhow::Result<Self> {
        let words: Vec<String> = std::env::args().skip(1).collect();
        Ok(Self {
            at: Timestamp::now(),
            commit: machine::commit(),
            command: format!("cargo xtask bench {}", words.join(" ")),
            bench: bench.to_owned(),
            variant: variant.to_owned(),
            system: "chat".to_owned(),
            unit: unit.to_owned(),
            units: 0.0,
            seconds: 0.0,
            cpu_us: 0.0,
            cpu_us_by_part: BTreeMap::new(),
            load_share: 0.0,
            foreign_share: 0.0,
            latency: BTreeMap::new(),
            floors: BTreeMap::new(),
            floor_us: None,
            counters: BTreeMap::new(),
            figures: BTreeMap::new(),
            facts: Vec::new(),
            machine: Machine::this()?,
            settings: BTreeMap::new(),
            against: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// What it took, for so many units in so many seconds.
    pub fn spent(&mut self, spent: &Spent, units: f64, seconds: f64) {
        (self.units, self.seconds) = (units, seconds);
        self.cpu_us = spent.total() / units;
        self.cpu_us_by_part = spent
            .parts
            .iter()
            .map(|(name, used)| (name.clone(), used / units))
            .collect();
        self.load_share = spent.load_share();
        self.foreign_share = spent.foreign_share();
        if self.foreign_share > FOREIGN {
            let share = self.foreign_share * 100.0;
            self.notes
                .push(format!("strangers used {share:.0} % of the machine"));
        }
        if self.load_share > LOAD {
            let share = self.load_share * 100.0;
            let note =
                format!("the load client used {share:.0} % of the machine: wall times are its own");
            self.notes.push(note);
        }
    }

    pub fn per_second(&self) -> f64 {
        self.units / self.seconds
    }

    /// Floors of before and after; those that moved too far are held against the run.
    pub fn beside(&mut self, before: &[Floor], after: &[Floor]) {
        for (one, two) in before.iter().zip(after) {
            self.floors
                .insert(one.name.to_owned(), (one.cpu_us(), two.cpu_us()));
            let drift = (two.cpu_us() / one.cpu_us() - 1.0).abs();
            if drift > DRIFT {
                let percent = drift * 100.0;
                self.against.push(format!(
                    "the floor {} moved by {percent:.0} % meanwhile",
                    one.name
                ));
            }
        }
    }

    /// The mean of a floor before and after.
    pub fn floor(&self, name: &str) -> f64 {
        self.floors
            .get(name)
            .map_or(0.0, |(before, after)| f64::midpoint(*before, *after))
    }

    pub fn counts(&self) -> bool {
        self.against.is_empty()
    }

    /// Adds the line to those of all runs, and prints the table.
    pub fn save(&self) -> anyhow::Result<()> {
        self.append()?;
        write!(std::io::stdout(), "{}", self.table())?;
        Ok(())
    }

    /// Adds the line to those of all runs.
    pub fn append(&self) -> anyhow::Result<()> {
        let file = file();
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut lines = OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(lines, "{}", serde_json::to_string(self)?)?;
        Ok(())
    }

    fn table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "\n{}, {} ({}): {:.0} × {} in {:.1} s, {:.0} a second",
            self.bench,
            self.variant,
            self.system,
            self.units,
            self.unit,
            self.seconds,
            self.per_second()
        );
        let _ = writeln!(out, "  CPU for one {}: {:.2} µs", self.unit, self.cpu_us);
        for (part, us) in &self.cpu_us_by_part {
            let _ = writeln!(out, "    {part:16} {us:8.2}");
        }
        if let Some(floor) = self.floor_us {
            let ratio = floor / self.cpu_us;
            let _ = writeln!(out, "  floor {floor:.2} µs, floor / result {ratio:.2}");
        }
        for (name, (before, after)) in &self.floors {
            let _ = writeln!(out, "    {name:16} {before:8.2} before, {after:8.2} after");
        }
        for (name, latency) in &self.latency {
            let ms = |us: u64| us as f64 / 1_000.0;
            let _ = writeln!(
                out,
                "  {name}: p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2} ms of {}",
                ms(latency.p50),
                ms(latency.p99),
                ms(latency.p999),
                ms(latency.max),
                latency.count
            );
        }
        for (name, figure) in &self.figures {
            let _ = writeln!(out, "  {name}: {figure:.2}");
        }
        for (name, count) in &self.counters {
            let _ = writeln!(out, "  {name} for 1,000: {count:.1}");
        }
        let (load, foreign) = (self.load_share * 100.0, self.foreign_share * 100.0);
        let _ = writeln!(
            out,
            "  load client {load:.0} %, strangers {foreign:.0} % of the machine"
        );
        if !self.facts.is_empty() {
            let facts: Vec<String> = self
                .facts
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| format!("{name} {count}"))
                .collect();
            let _ = writeln!(out, "  clean: {}", facts.join(", "));
        }
        for note in &self.notes {
            let _ = writeln!(out, "  note: {note}");
        }
        for against in &self.against {
            let _ = writeln!(out, "  DOES NOT COUNT: {against}");
        }
        out
    }
}

/// All runs that were ever made here.
pub fn file() -> PathBuf {
    chat_local::cache().join("bench/runs.jsonl")
}

/// # Errors
/// When a line is not one of ours.
pub fn all() -> anyhow::Result<Vec<Run>> {
    let text = fs::read_to_string(file())?;
    Ok(text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?)
}
