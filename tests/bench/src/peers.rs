//! The same work by other servers, in turn with ours: A, B, A, B, on the same machine,
//! with the same bodies and the same number outstanding. What a peer does not do is
//! told beside its figures. Peers are built from the Go module proxy into the cache.

mod centrifugo;
mod nats;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chat_e2e::load::room::{self, gather};
use chat_e2e::load::socket::RawSocket;
use chat_e2e::load::tape::await_notices;
use chat_e2e::load::usage::Parts;
use chat_e2e::load::{Cast, judge, latencies};
use chat_local::daemon::{Daemon, Plan};
use chat_local::process::Program;
use chat_local::programs;
use clap::ValueEnum;
use hdrhistogram::Histogram;
use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::floor;
use crate::record::{Latency, Run};
use crate::stage::Stage;

const TEXT: usize = 256;
/// Ends every body, so that deliveries can be counted without reading them.
const MARK: &[u8] = b"~end~";
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    Nats,
    Centrifugo,
}

#[derive(clap::Args)]
pub struct Args {
    #[arg(value_delimiter = ',', default_value = "nats,centrifugo")]
    peers: Vec<Which>,
    /// Of each system, in turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1_000)]
    members: usize,
}

/// A server of somebody else's that runs, on loopback.
pub struct Peer {
    name: &'static str,
    /// What our chat does for a delivery and this server does not.
    does_not: &'static str,
    port: u16,
    parts: Parts,
    /// Killed when it is dropped.
    daemon: Daemon,
}

impl Which {
    async fn start(self) -> anyhow::Result<Peer> {
        match self {
            Self::Nats => nats::start().await,
            Self::Centrifugo => centrifugo::start().await,
        }
    }

    async fn member(self, peer: &Peer) -> anyhow::Result<RawSocket> {
        match self {
            Self::Nats => nats::member(peer).await,
            Self::Centrifugo => centrifugo::member(peer).await,
        }
    }

    /// What a writer says, as a frame.
    fn message(self) -> Vec<u8> {
        let mut body = "x".repeat(TEXT - MARK.len());
        body.push_str(&String::from_utf8_lossy(MARK));
        match self {
            Self::Nats => nats::message(&body),
            Self::Centrifugo => centrifugo::message(&body),
        }
    }
}

/// Medians and ranges of paired ratios are made of these.
#[derive(Clone, Copy)]
struct Round {
    ours: f64,
    theirs: f64,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.rounds > 0 && args.members > 1, "more than nothing");
    let length = Duration::from_secs_f64(args.seconds);
    let stage = Stage::start(1).await?;
    let cast = Cast::new(&stage.chat).await?;
    let (mut notices, mut tapes, mut runs) = (0, Vec::new(), Vec::new());
    for which in &args.peers {
        let peer = which.start().await?;
        let mut rounds = Vec::new();
        for round in 1..=args.rounds {
            eprintln!("{} {round} of {}", peer.name, args.rounds);
            let floor = floor::fan_out().await?;
            let variant = format!("room of {}, round {round} with {}", args.members, peer.name);
            let mut theirs = Run::new("peers", &variant, "delivery")?;
            theirs.system = peer.name.to_owned();
            theirs.notes.push(format!("it has {}", peer.does_not));
            lock_step(*which, &peer, args.members, length, &mut theirs).await?;
            let between = floor::fan_out().await?;
            let plan = room::Plan {
                rate: None,
                length,
                text: TEXT,
                slow: false,
            };
            let gathered = gather(&cast, &stage.recorder, args.members, 1, false).await?;
            let before = stage.parts.read()?;
            let ran = room::run(&stage.recorder, gathered, &plan).await?;
            notices += ran.messages as i64 * (args.members - 1) as i64;
            await_notices(&stage.chat, notices).await?;
            let spent = before.until(&stage.parts.read()?);
            let mut ours = Run::new("peers", &variant, "delivery")?;
            ours.spent(&spent, ran.deliveries as f64, ran.seconds);
            ours.latency
                .insert("last member".into(), Latency::of(&ran.last));
            let after = floor::fan_out().await?;
            theirs.beside(&[floor], std::slice::from_ref(&between));
            ours.beside(&[between], &[after]);
            for run in [&mut theirs, &mut ours] {
                run.floor_us = Some(run.floor("ws-fanout"));
            }
            rounds.push(Round {
                ours: ours.cpu_us,
                theirs: theirs.cpu_us,
            });
            tapes.extend(ran.tapes);
            runs.extend([theirs, ours]);
        }
        runs.push(paired(peer.name, args.members, &rounds)?);
        peer.daemon.stop().await?;
    }
    let facts = judge(&stage.chat, &stage.recorder, tapes, &stage.history).await?;
    for mut run in runs {
        if run.system == "chat" {
            run.facts.clone_from(&facts);
        }
        run.save()?;
    }
    Ok(())
}

/// The median of the ratios and how far they went.
fn paired(peer: &str, members: usize, rounds: &[Round]) -> anyhow::Result<Run> {
    let mut ratios: Vec<f64> = rounds
        .iter()
        .map(|round| round.theirs / round.ours)
        .collect();
    ratios.sort_by(f64::total_cmp);
    let variant = format!("room of {members}, {} rounds with {peer}", rounds.len());
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

async fn lock_step(
    which: Which,
    peer: &Peer,
    members: usize,
    length: Duration,
    run: &mut Run,
) -> anyhow::Result<()> {
    let writer = which.member(peer).await?;
    let mut listeners = JoinSet::new();
    let (heard, mut hear) = mpsc::unbounded_channel::<()>();
    for _ in 0..members {
        let mut socket = which.member(peer).await?;
        let heard = heard.clone();
        listeners.spawn(async move {
            loop {
                let frame = socket.next().await?;
                for _ in 0..marks(&frame) {
                    heard.send(())?;
                }
            }
            #[expect(unreachable_code, reason = "the type of the task")]
            anyhow::Ok(())
        });
    }
    // The writer hears itself, too, where the server does not spare it.
    let writer_sends = writer.sender();
    let echo = Arc::new(tokio::sync::Mutex::new(writer));
    let own = tokio::spawn(async move {
        let mut writer = echo.lock().await;
        while writer.next().await.is_ok() {}
    });
    let message = which.message();
    let (mut last, mut deliveries): (Histogram<u64>, u64) = (latencies(), 0);
    let before = peer.parts.read()?;
    let (began, until) = (Instant::now(), Instant::now() + length);
    while Instant::now() < until {
        let meant = Instant::now();
        writer_sends.write(&message).await?;
        for _ in 0..members {
            tokio::select! {
                heard = hear.recv() => heard.context("nobody listens")?,
                ended = listeners.join_next() => bail!("a listener ended: {ended:?}"),
                () = tokio::time::sleep(PATIENCE) => bail!("{} lost a delivery", peer.name),
            }
        }
        last.saturating_record(meant.elapsed().as_micros() as u64);
        deliveries += members as u64;
    }
    let seconds = began.elapsed().as_secs_f64();
    let spent = before.until(&peer.parts.read()?);
    own.abort();
    run.spent(&spent, deliveries as f64, seconds);
    run.latency.insert("last member".into(), Latency::of(&last));
    Ok(())
}

fn marks(frame: &[u8]) -> usize {
    frame
        .windows(MARK.len())
        .filter(|window| *window == MARK)
        .count()
}

/// The program of a Go module, built once.
async fn go_install(module: &str, version: &str, program: &str) -> anyhow::Result<PathBuf> {
    let folder = chat_local::cache().join("bench/peers").join(version);
    let path = folder.join(program);
    if path.is_file() {
        return Ok(path);
    }
    let go = programs::need("go", "golang")?;
    eprintln!("building {module}@{version}");
    let status = Command::new(go)
        .arg("install")
        .arg(format!("{module}@{version}"))
        .env("GOBIN", &folder)
        .status()
        .await?;
    ensure!(status.success(), "{module} cannot be built: {status}");
    Ok(path)
}

async fn start(
    name: &'static str,
    does_not: &'static str,
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
        start_patience: Duration::from_secs(20),
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
        does_not,
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

async fn open(peer: &Peer, path: &str) -> anyhow::Result<RawSocket> {
    let to = ([127, 0, 0, 1], peer.port).into();
    RawSocket::open(to, [127, 0, 0, 1].into(), path, &[]).await
}
