//! What was measured, beside what was hoped for: as a table and as one line of JSON.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Where the table stands in a page.
const BEGIN: &str = "<!-- written by `cargo xtask bench operator --write` -->";
const END: &str = "<!-- end of what the bench writes -->";

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    values: Map<String, Value>,
    notes: Vec<String>,
}

struct Row {
    what: String,
    goal: &'static str,
    measured: String,
    met: Option<bool>,
}

impl Report {
    /// A row with a goal; whether it was met cannot be said of every run.
    pub fn goal(
        &mut self,
        what: &str,
        goal: &'static str,
        measured: String,
        met: impl Into<Option<bool>>,
    ) {
        self.row(what, goal, measured, met.into());
    }

    /// A row without one.
    pub fn fact(&mut self, what: &str, measured: String) {
        self.row(what, "–", measured, None);
    }

    fn row(&mut self, what: &str, goal: &'static str, measured: String, met: Option<bool>) {
        eprintln!("   {what}: {measured}");
        self.rows.push(Row {
            what: what.to_owned(),
            goal,
            measured,
            met,
        });
    }

    /// A figure in the line of JSON.
    pub fn value(&mut self, key: &str, value: impl Into<Value>) {
        self.values.insert(key.to_owned(), value.into());
    }

    /// A sentence below the table.
    pub fn note(&mut self, text: String) {
        eprintln!("   {text}");
        self.notes.push(text);
    }

    pub fn json(&self) -> String {
        Value::Object(self.values.clone()).to_string()
    }

    /// Puts the table into a page, between its two marks.
    pub fn write(&self, page: &Path) -> Result<()> {
        let text = std::fs::read_to_string(page)
            .with_context(|| format!("{} cannot be read", page.display()))?;
        let (before, rest) = text
            .split_once(BEGIN)
            .context("the first mark is missing")?;
        let (_, after) = rest.split_once(END).context("the second mark is missing")?;
        std::fs::write(page, format!("{before}{BEGIN}\n\n{self}\n{END}{after}"))?;
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | goal | measured | |")?;
        writeln!(f, "| --- | --- | --- | --- |")?;
        for row in &self.rows {
            let met = match row.met {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "",
            };
            let Row {
                what,
                goal,
                measured,
                ..
            } = row;
            writeln!(f, "| {what} | {goal} | {measured} | {met} |")?;
        }
        for note in &self.notes {
            write!(f, "\n{note}\n")?;
        }
        Ok(())
    }
}

/// Durations in milliseconds.
#[derive(Default)]
pub struct Times(Vec<f64>);

impl Times {
    pub fn push(&mut self, from: Timestamp, to: Timestamp) {
        self.0.push(to.duration_since(from).as_secs_f64() * 1000.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest that so many percent do not exceed; without any, there is none.
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
    }

    pub fn json(&self) -> Value {
        json!({
            "count": self.len(),
            "p50": self.percentile(50),
            "p95": self.percentile(95),
            "p99": self.percentile(99),
            "max": self.percentile(100),
        })
    }

    /// `p50 12 ms, p95 34 ms (of 20)`
    pub fn to_text(&self, percentiles: &[usize]) -> String {
        let each = percentiles
            .iter()
            .map(|it| format!("p{it} {}", milliseconds(self.percentile(*it))));
        format!(
            "{} (of {})",
            each.collect::<Vec<_>>().join(", "),
            self.len()
        )
    }
}

pub fn milliseconds(time: f64) -> String {
    if time < 10_000.0 {
        format!("{time:.0} ms")
    } else {
        format!("{:.1} s", time / 1000.0)
    }
}

pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", to_mebibytes(bytes))
}

#[expect(clippy::cast_precision_loss, reason = "of a machine's memory")]
pub fn to_mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
