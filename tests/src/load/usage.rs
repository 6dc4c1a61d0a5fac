//! What a part of the chat has used of the processors: its process and all of its
//! children, ended ones included. Wall time says little on a machine that is shared.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::Context;
use chat_local::Stores;

use crate::Chat;

/// Linux counts in hundredths of a second for every program, whatever its own clock.
const TICK: f64 = 10_000.0;

/// Named processes, each with its children.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    servers: Vec<(String, i32)>,
    /// What makes the load beside this process.
    helpers: Vec<i32>,
}

/// What everything had used until a moment, in microseconds.
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    parts: BTreeMap<String, f64>,
    own: f64,
    busy: f64,
}

/// Between two readings.
#[derive(Clone, Debug)]
pub struct Spent {
    pub seconds: f64,
    /// Microseconds of each part; pods of one service are one part.
    pub parts: BTreeMap<String, f64>,
    /// Microseconds of this process and its helpers.
    pub own: f64,
    /// Microseconds of everybody else on the machine.
    pub foreign: f64,
    /// Of all processors.
    pub available: f64,
}

impl Spent {
    /// Microseconds of all parts.
    pub fn total(&self) -> f64 {
        self.parts.values().sum()
    }
}

impl Parts {
    /// All that stands behind the sockets of a chat.
    ///
    /// # Errors
    /// When a server does not run.
    pub async fn of(chat: &Chat, stores: &Stores) -> anyhow::Result<Self> {
        let mut parts = Self::of_stores(stores).await?;
        for pod in chat.pods() {
            let pid = pod.pid().await.context("a pod does not run")?;
            parts.add(pod.place().service.name(), pid);
        }
        let nginx = chat.nginx().pid().await.context("NGINX does not run")?;
        parts.add("nginx", nginx);
        Ok(parts)
    }

    /// # Errors
    /// When a server does not run.
    pub async fn of_stores(stores: &Stores) -> anyhow::Result<Self> {
        let mut parts = Self::default();
        for (name, daemon) in [
            ("postgresql", &stores.postgres),
            ("rabbitmq", &stores.rabbitmq),
            ("redis", &stores.redis),
        ] {
            parts.add(name, daemon.pid().await.context("a store does not run")?);
        }
        Ok(parts)
    }

    pub fn add(&mut self, name: &str, pid: i32) {
        self.servers.push((name.to_owned(), pid));
    }

    /// A process whose work is counted as this one's.
    pub fn add_helper(&mut self, pid: i32) {
        self.helpers.push(pid);
    }

    /// # Errors
    /// When `/proc` cannot be read, or a part has ended.
    pub fn read(&self) -> anyhow::Result<Reading> {
        let all = processes()?;
        let mut parts = BTreeMap::new();
        for (name, root) in &self.servers {
            anyhow::ensure!(all.contains_key(root), "{name} has ended");
            *parts.entry(name.clone()).or_default() += tree(&all, *root);
        }
        let own = [std::process::id().cast_signed()];
        let own = own.iter().chain(&self.helpers);
        Ok(Reading {
            at: Instant::now(),
            parts,
            own: own.filter_map(|pid| Some(all.get(pid)?.alone)).sum(),
            busy: busy()?,
        })
    }

    /// Resident memory of each part, in bytes.
    ///
    /// # Errors
    /// When a part has ended.
    pub fn memory(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut parts = BTreeMap::new();
        for (name, pid) in &self.servers {
            *parts.entry(name.clone()).or_default() += resident(*pid)?;
        }
        Ok(parts)
    }
}

impl Reading {
    /// What all parts had used since they began, in microseconds.
    pub fn used(&self) -> f64 {
        self.parts.values().sum()
    }

    pub fn until(&self, later: &Self) -> Spent {
        let parts: BTreeMap<_, _> = later
            .parts
            .iter()
            .map(|(name, used)| (name.clone(), used - self.parts.get(name).unwrap_or(&0.0)))
            .collect();
        let own = later.own - self.own;
        let seconds = later.at.duration_since(self.at).as_secs_f64();
        let known = own + parts.values().sum::<f64>();
        Spent {
            seconds,
            foreign: (later.busy - self.busy - known).max(0.0),
            available: seconds * 1e6 * processors(),
            parts,
            own,
        }
    }
}

impl Spent {
    /// Of all processors, what makes the load used.
    pub fn load_share(&self) -> f64 {
        self.own / self.available
    }

    /// Of all processors, what strangers used.
    pub fn foreign_share(&self) -> f64 {
        self.foreign / self.available
    }
}

pub fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}

struct Process {
    parent: i32,
    alone: f64,
    /// With children that have ended.
    whole: f64,
}

fn processes() -> anyhow::Result<BTreeMap<i32, Process>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Whoever ended meanwhile is in the count of its parent.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        if let Some(process) = process(&stat) {
            all.insert(pid, process);
        }
    }
    Ok(all)
}

fn process(stat: &str) -> Option<Process> {
    // The name before it may hold spaces and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    let alone = (ticks(11)? + ticks(12)?) * TICK;
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        alone,
        whole: alone + (ticks(13)? + ticks(14)?) * TICK,
    })
}

fn tree(all: &BTreeMap<i32, Process>, root: i32) -> f64 {
    let children = all.iter().filter(|(_, process)| process.parent == root);
    let below: f64 = children.map(|(child, _)| tree(all, *child)).sum();
    all.get(&root).map_or(0.0, |process| process.whole) + below
}

/// What all processors have worked, in microseconds; what the host took is no work.
fn busy() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _idle, _wait, irq, softirq, ..] = ticks[..] else {
        anyhow::bail!("/proc/stat has another form");
    };
    Ok((user + nice + system + irq + softirq) * TICK)
}

/// Resident memory of one process without its children, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident(pid: i32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
        .context("no VmRSS")?;
    Ok(kib.parse::<u64>()? * 1024)
}

/// What the calling thread has used, in microseconds.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn of_this_thread() -> anyhow::Result<f64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = stat.split_whitespace().next().context("no schedstat")?;
    Ok(nanoseconds.parse::<f64>()? / 1e3)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Parts, process};

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 100 50 20 10 20 0";
        let process = process(stat).expect("a process");
        assert_eq!(process.parent, 3);
        assert!((process.alone - 1_500_000.0).abs() < 1.0);
        assert!((process.whole - 1_800_000.0).abs() < 1.0);
    }

    #[test]
    fn work_of_a_child_that_has_ended_is_counted() -> anyhow::Result<()> {
        let mut shell = Command::new("sh")
            .args([
                "-c",
                "sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'; read line",
            ])
            .stdin(std::process::Stdio::piped())
            .spawn()?;
        let mut parts = Parts::default();
        parts.add("shell", shell.id().cast_signed());
        let before = parts.read()?;
        let worked = loop {
            let spent = before.until(&parts.read()?);
            if spent.total() > 0.0 {
                break spent.total();
            }
            assert!(spent.seconds < 60.0, "it never worked");
            std::thread::yield_now();
        };
        assert!(worked > 0.0);
        drop(shell.stdin.take());
        shell.wait()?;
        assert!(parts.read().is_err(), "it has ended");
        Ok(())
    }
}
