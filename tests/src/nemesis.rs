//! Breaks one component of a running chat after the other, as a schedule says, and
//! gives each back: servers and pods are killed, frozen and restarted, the ways to the
//! servers are slow, deaf, mute, reset and cut, and the broker repeats and refuses.

mod schedule;
mod striker;
mod ways;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use chat_events::Service;
use serde::{Deserialize, Serialize};

pub use schedule::{read, schedule, write};
pub use striker::{Nemesis, Struck};
pub use ways::Ways;

/// What is done to a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// `kill -9` of all its processes; started again afterwards.
    Kill,
    /// SIGSTOP, and SIGCONT afterwards: it is there, and does not answer.
    Freeze,
    /// SIGTERM; started again after its end.
    Restart,
    /// What passes on the way to it is late, by chance later than usual.
    Slow,
    /// The way carries few bytes in a second.
    Narrow,
    /// Nothing reaches it, and nobody is told.
    Deaf,
    /// Nothing comes from it, and nobody is told.
    Mute,
    /// Connections to it end without a goodbye, again and again.
    Reset,
    /// Each connection to it ends in the middle of what it carries.
    Cut,
    /// The broker delivers everything twice. In another order is left to a test of its
    /// own: who wrote first is what the broker says.
    Repeat,
    /// The broker has no memory left, and takes nothing.
    Alarm,
}

impl Fault {
    /// Of a process.
    pub const OF_PROCESSES: [Self; 3] = [Self::Kill, Self::Freeze, Self::Restart];

    /// What can happen to a component while its process goes on.
    pub const fn beside(target: Target) -> &'static [Self] {
        const ALL: &[Fault] = &[
            Fault::Slow,
            Fault::Narrow,
            Fault::Deaf,
            Fault::Mute,
            Fault::Reset,
            Fault::Cut,
            Fault::Repeat,
            Fault::Alarm,
        ];
        match target {
            // Pods are reached past each other only.
            Target::Pod(..) => &[],
            Target::PostgreSql | Target::Redis | Target::Nginx => ALL.split_at(6).0,
            Target::RabbitMq => ALL,
        }
    }
}

/// One process of a service, or one of the servers around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Target {
    Pod(Service, usize),
    PostgreSql,
    RabbitMq,
    Redis,
    Nginx,
}

/// One line of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strike {
    /// Since the beginning of the run.
    pub at_ms: u64,
    pub fault: Fault,
    pub target: Target,
    /// For how long the component is away or frozen. A restart ends the process
    /// first, which takes its own time.
    pub length_ms: u64,
}

impl Target {
    /// Every component of a chat with so many pods of each service.
    pub fn all(replicas: usize) -> Vec<Self> {
        let pods = Service::ALL
            .into_iter()
            .flat_map(|service| (0..replicas).map(move |replica| Self::Pod(service, replica)));
        pods.chain([Self::PostgreSql, Self::RabbitMq, Self::Redis, Self::Nginx])
            .collect()
    }

    /// The same for all pods of a service.
    pub const fn component(self) -> &'static str {
        match self {
            Self::Pod(service, _) => service.name(),
            Self::PostgreSql => "PostgreSQL",
            Self::RabbitMq => "RabbitMQ",
            Self::Redis => "Redis",
            Self::Nginx => "NGINX",
        }
    }
}

impl Strike {
    pub const fn at(&self) -> Duration {
        Duration::from_millis(self.at_ms)
    }

    pub const fn length(&self) -> Duration {
        Duration::from_millis(self.length_ms)
    }

    pub const fn end_ms(&self) -> u64 {
        self.at_ms + self.length_ms
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(service, replica) => write!(f, "{} {replica}", service.name()),
            other => f.write_str(other.component()),
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.fault {
            Fault::Kill => "kill",
            Fault::Freeze => "freeze",
            Fault::Restart => "restart",
            Fault::Slow => "slow the way to",
            Fault::Narrow => "narrow the way to",
            Fault::Deaf => "let nothing reach",
            Fault::Mute => "let nothing come from",
            Fault::Reset => "reset the way to",
            Fault::Cut => "cut the way to",
            Fault::Repeat => "repeat what comes from",
            Fault::Alarm => "take the memory from",
        };
        write!(f, "{what} {}", self.target)
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let servers = [Self::PostgreSql, Self::RabbitMq, Self::Redis, Self::Nginx];
        if let Some(server) = servers.into_iter().find(|one| one.component() == name) {
            return Ok(server);
        }
        let (service, replica) = name
            .rsplit_once(' ')
            .with_context(|| format!("{name} is no component"))?;
        match Service::ALL.into_iter().find(|one| one.name() == service) {
            Some(service) => Ok(Self::Pod(service, replica.parse()?)),
            None => bail!("there is no service {service}"),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = anyhow::Error;

    fn try_from(name: String) -> anyhow::Result<Self> {
        name.parse()
    }
}
