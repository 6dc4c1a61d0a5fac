//! The same work by other servers, in turn with ours: A, B, A, B, on the same machine,
//! with the same bodies and the same number outstanding. What a peer does not do is
//! told beside its figures. Peers come from the Go module proxy, crates.io and Debian, into
//! the cache; nothing is installed.

mod centrifuge;
mod debian;
mod direct;
mod ejabberd;
mod idle;
mod nats;
mod rooms;
mod sockudo;
mod websocket;
mod xmpp;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::load::usage::Parts;
use chat_local::daemon::{Daemon, Plan};
use chat_local::process::Program;
use clap::ValueEnum;
use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::record::Run;

const TEXT: usize = 256;
/// Ends every body, so that deliveries can be counted without reading them.
const MARK: &[u8] = b"~end~";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// `room` and `idle`
    Nats,
    /// `room` and `idle`
    Centrifuge,
    /// `room` and `idle`
    Sockudo,
    /// `direct`, `room` and `idle`, with its archive in the same PostgreSQL
    Ejabberd,
}

/// How one speaks with it.
#[derive(Clone, Copy)]
enum Which {
    Websocket(websocket::Kind),
    Ejabberd,
}

impl From<Name> for Which {
    fn from(name: Name) -> Self {
        match name {
            Name::Nats => Self::Websocket(websocket::Kind::Nats),
            Name::Centrifuge => Self::Websocket(websocket::Kind::Centrifuge),
            Name::Sockudo => Self::Websocket(websocket::Kind::Sockudo),
            Name::Ejabberd => Self::Ejabberd,
        }
    }
}

#[derive(clap::Args)]
pub struct Args {
    #[arg(
        value_delimiter = ',',
        default_value = "ejabberd,nats,centrifuge,sockudo"
    )]
    peers: Vec<Name>,
    /// Of each system, in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Of the room.
    #[arg(long, default_value_t = 1_000)]
    members: usize,
    /// At rest.
    #[arg(long, default_value_t = 2_000)]
    sockets: usize,
    /// Messages of each of 32 pairs that nobody has heard yet.
    #[arg(long, default_value_t = 8)]
    outstanding: u32,
    /// One kind of work alone.
    #[arg(long)]
    only: Option<Work>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    Direct,
    Room,
    Idle,
}

impl Args {
    const fn length(&self) -> Duration {
        Duration::from_millis((self.seconds * 1_000.0) as u64)
    }
}

/// A server of somebody else's that runs, on loopback.
pub struct Peer {
    name: &'static str,
    /// What ours does for a unit and this server does not, or the other way round.
    differs: &'static str,
    port: u16,
    parts: Parts,
    /// Killed when it is dropped.
    daemon: Daemon,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.rounds > 0 && args.members > 1, "more than nothing");
    for name in &args.peers {
        for work in [Work::Direct, Work::Room, Work::Idle] {
            if args.only.is_some_and(|only| only != work) {
                continue;
            }
            match (work, Which::from(*name)) {
                // It has nothing that could be compared with it.
                (Work::Direct, Which::Websocket(_)) => {}
                (Work::Direct, Which::Ejabberd) => Box::pin(direct::run(args)).await?,
                (Work::Room, which) => Box::pin(rooms::run(args, which)).await?,
                (Work::Idle, which) => Box::pin(idle::run(args, which)).await?,
            }
        }
    }
    Ok(())
}

/// A body of the usual length that ends with the mark.
fn body() -> String {
    let mut body = "x".repeat(TEXT - MARK.len());
    body.push_str(&String::from_utf8_lossy(MARK));
    body
}

fn marks(bytes: &[u8]) -> usize {
    bytes
        .windows(MARK.len())
        .filter(|window| *window == MARK)
        .count()
}

/// What a pair of rounds cost, in microseconds for a unit.
#[derive(Clone, Copy)]
struct Round {
    ours: f64,
    theirs: f64,
}

/// The median of the ratios and how far they went.
fn paired(what: &str, peer: &str, rounds: &[Round]) -> anyhow::Result<Run> {
    let mut ratios: Vec<f64> = rounds
        .iter()
        .map(|round| round.theirs / round.ours)
        .collect();
    ratios.sort_by(f64::total_cmp);
    let variant = format!("{what}, {} rounds with {peer}", rounds.len());
    let mut run = Run::new("peers", &variant, "pair of rounds")?;
    (run.units, run.seconds) = (rounds.len() as f64, 1.0);
    let figure = |place: usize| ratios.get(place).copied().unwrap_or_default();
    for (name, ratio) in [
        ("CPU of the peer / ours, median", figure(ratios.len() / 2)),
        ("least", figure(0)),
        ("most", figure(ratios.len() - 1)),
    ] {
        run.figures.insert(name.into(), ratio);
    }
    Ok(run)
}

async fn start(
    name: &'static str,
    differs: &'static str,
    port: u16,
    program: Program,
) -> anyhow::Result<Peer> {
    let folder = program.folder.clone();
    let daemon = Daemon::new(Plan {
        name: name.to_owned(),
        program,
        log: folder.join(format!("{name}.log")),
        pid_file: folder.join(format!("{name}.pid")),
        stop_signal: Signal::SIGTERM,
        stop_patience: Duration::from_secs(10),
        start_patience: Duration::from_secs(30),
        ready: Arc::new(move || {
            Box::pin(async move {
                let address = ("127.0.0.1", port);
                tokio::net::TcpStream::connect(address).await.is_ok()
            })
        }),
        advice: "",
    });
    daemon.start().await?;
    let mut parts = Parts::default();
    parts.add(name, daemon.pid().await.context("it has ended")?);
    Ok(Peer {
        name,
        differs,
        port,
        parts,
        daemon,
    })
}

/// A folder for the settings of a peer.
fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = chat_local::testing::temporary_folder()?.join(name);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Where programs of peers are kept.
fn cache() -> PathBuf {
    chat_local::cache().join("bench/peers")
}

/// Builds a program into `path`, when it is not there yet.
async fn build_once(path: &Path, what: &str, by: &mut Command) -> anyhow::Result<()> {
    if !path.is_file() {
        eprintln!("building {what}");
        let status = by.status().await?;
        ensure!(status.success(), "{what} cannot be built: {status}");
    }
    Ok(())
}
