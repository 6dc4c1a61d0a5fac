//! People come and go while others watch: every watcher hears of everybody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chat_e2e::load::pace;
use chat_e2e::load::socket::RawSocket;
use chat_e2e::load::{Cast, latencies};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::record::{Latency, Run};
use crate::stage::Stage;

/// How long somebody stays.
const STAY: Duration = Duration::from_secs(3);
/// Whoever leaves may come back for some seconds before others are told.
const LATE: Duration = Duration::from_secs(30);
const ONLINE: &[u8] = br#"{"type":"user.online""#;
const OFFLINE: &[u8] = br#"{"type":"user.offline""#;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, default_value_t = 20)]
    watchers: usize,
    /// Comings and goings in a second.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// People who are there all the time.
    #[arg(long, default_value_t = 1_000)]
    online: usize,
}

struct Board {
    came: Mutex<HashMap<String, Instant>>,
    times: Mutex<Histogram<u64>>,
    online: AtomicU64,
    offline: AtomicU64,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    let stage = Stage::start(1).await?;
    let cast = Cast::new(&stage.chat).await?;
    let visits = (args.rate / 2.0 * args.seconds) as usize;
    ensure!(visits > 0 && args.watchers > 0, "more than nothing");
    let residents = cast.people(args.online).await?;
    let guests = cast.people(visits).await?;
    let mut there = Vec::new();
    for some in residents.chunks(64) {
        there.extend(try_join_all(some.iter().map(|one| cast.socket(one, 0))).await?);
    }
    let board = Arc::new(Board {
        came: Mutex::default(),
        times: Mutex::new(latencies()),
        online: AtomicU64::new(0),
        offline: AtomicU64::new(0),
    });
    let mut watching = JoinSet::new();
    for watcher in cast.people(args.watchers).await? {
        let mut socket = cast.notices(&watcher, 0).await?;
        // Its hello.
        socket.next().await?;
        watching.spawn(watch(socket, board.clone()));
    }
    let counted = stage.counters().await?;
    let before = stage.parts.read()?;
    let began = Instant::now();
    let length = Duration::from_secs_f64(args.seconds);
    let mut due = pace::every(args.rate / 2.0, length, 1).swap_remove(0);
    let mut staying = JoinSet::new();
    for guest in &guests {
        let Some(_) = due.recv().await else { break };
        let id = guest.id.to_string();
        board
            .came
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, Instant::now());
        let socket = cast.socket(guest, 0).await?;
        staying.spawn(async move {
            sleep(STAY).await;
            drop(socket);
        });
    }
    while staying.join_next().await.is_some() {}
    let expected = (visits * args.watchers) as u64;
    let deadline = Instant::now() + LATE;
    while board.offline.load(Ordering::Acquire) < expected && Instant::now() < deadline {
        sleep(Duration::from_millis(100)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let spent = before.until(&stage.parts.read()?);
    let (online, offline) = (
        board.online.load(Ordering::Acquire),
        board.offline.load(Ordering::Acquire),
    );
    ensure!(
        online >= expected,
        "{online} of {expected} were told who came"
    );
    watching.shutdown().await;
    let latency = Latency::of(&board.times.lock().unwrap_or_else(PoisonError::into_inner));
    let deliveries = (online + offline) as f64;
    let mut run = Run::new(
        "presence",
        &format!("{} watchers", args.watchers),
        "delivery",
    )?;
    run.counters = stage.counters().await?.since(&counted, 2.0 * visits as f64);
    run.spent(&spent, deliveries, seconds);
    run.latency.insert("told who came".into(), latency);
    for (name, figure) in [
        ("transitions", 2.0 * visits as f64),
        ("deliveries that should come", 2.0 * expected as f64),
        ("people who stay", args.online as f64),
    ] {
        run.figures.insert(name.into(), figure);
    }
    run.notes.push(
        "counters are for 1,000 transitions; opening and closing the sockets is included".into(),
    );
    drop(there);
    run.save()
}

async fn watch(mut socket: RawSocket, board: Arc<Board>) -> anyhow::Result<()> {
    loop {
        let frame = socket.next().await?;
        let came_now = frame.starts_with(ONLINE);
        if !came_now && !frame.starts_with(OFFLINE) {
            continue;
        }
        let id = id(&frame).context("a frame without an id")?;
        let came = board.came.lock().unwrap_or_else(PoisonError::into_inner);
        let known = came.get(id).copied();
        drop(came);
        let Some(came) = known else {
            // Whoever stays.
            continue;
        };
        if !came_now {
            board.offline.fetch_add(1, Ordering::AcqRel);
        } else {
            board.online.fetch_add(1, Ordering::AcqRel);
            let mut times = board.times.lock().unwrap_or_else(PoisonError::into_inner);
            times.saturating_record(came.elapsed().as_micros() as u64);
        }
    }
}

fn id(frame: &[u8]) -> Option<&str> {
    const NAME: &str = "\"id\":\"";
    let text = std::str::from_utf8(frame).ok()?;
    text.split_once(NAME)?.1.get(..36)
}
