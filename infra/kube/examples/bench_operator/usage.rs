//! What processes use, by the kernel's own account.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Clock ticks in a second, as `/proc` counts them: the same on every machine.
const TICKS: u64 = 100;

/// The processes of this bench, and when the counting began.
pub struct Meter {
    begin: Instant,
    busy: Duration,
    of: Vec<(&'static str, i32, Duration)>,
}

/// CPU time between two moments.
pub struct Used {
    pub wall: Duration,
    of: Vec<(&'static str, Duration)>,
    /// Of everything else on this machine.
    foreign: Duration,
}

impl Meter {
    pub fn begin(processes: Vec<(&'static str, i32)>) -> Result<Self> {
        let of = processes
            .into_iter()
            .map(|(name, pid)| Ok((name, pid, cpu(pid)?)));
        Ok(Self {
            of: of.collect::<Result<_>>()?,
            begin: Instant::now(),
            busy: busy()?,
        })
    }

    pub fn end(&self) -> Result<Used> {
        let of = self
            .of
            .iter()
            .map(|(name, pid, before)| Ok((*name, cpu(*pid)?.saturating_sub(*before))));
        let of: Vec<_> = of.collect::<Result<_>>()?;
        let known: Duration = of.iter().map(|(_, used)| *used).sum();
        Ok(Used {
            wall: self.begin.elapsed(),
            foreign: busy()?.saturating_sub(self.busy).saturating_sub(known),
            of,
        })
    }
}

impl Used {
    pub fn by(&self, name: &str) -> Duration {
        let used = self.of.iter().find(|(it, _)| *it == name);
        used.map_or(Duration::ZERO, |(_, used)| *used)
    }

    /// What others took of the whole machine, in percent.
    pub fn foreign_percent(&self) -> f64 {
        100.0 * self.foreign.as_secs_f64() / (self.wall.as_secs_f64() * cores())
    }

    /// `operator 1.2 s, kube-apiserver 3.4 s, …`
    pub fn to_text(&self) -> String {
        let of = self
            .of
            .iter()
            .map(|(name, used)| format!("{name} {:.1} s", used.as_secs_f64()));
        of.collect::<Vec<_>>().join(", ")
    }
}

pub fn cores() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).map_or(1.0, f64::from)
}

/// User and system time of a process.
fn cpu(pid: i32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} has ended"))?;
    // The second field is the name in brackets and may hold anything.
    let after_name = stat.rsplit_once(')').context("no name")?.1;
    let ticks = |field| -> Result<u64> {
        let field = after_name.split_whitespace().nth(field);
        Ok(field.context("a field is missing")?.parse()?)
    };
    Ok(from_ticks(ticks(11)? + ticks(12)?))
}

/// Time that any processor was not idle.
fn busy() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let total = stat.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = total
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let of = |fields: &[usize]| -> u64 { fields.iter().filter_map(|it| ticks.get(*it)).sum() };
    // user, nice, system, irq, softirq; idle and iowait are none, guests are in user.
    Ok(from_ticks(of(&[0, 1, 2, 5, 6])))
}

fn from_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// Bytes of a process that are in memory.
pub fn resident(pid: i32) -> Result<u64> {
    status(pid, "VmRSS:")
}

/// The most of them since the last [`forget_peak`].
pub fn peak(pid: i32) -> Result<u64> {
    status(pid, "VmHWM:")
}

pub fn forget_peak(pid: i32) -> Result<()> {
    Ok(std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn status(pid: i32, field: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    let value = value.with_context(|| format!("no {field}"))?;
    let kib: u64 = value.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
