//! People come and go while others watch: every watcher hears of everybody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chat_e2e::await_until;
use chat_e2e::load::pace;
use chat_e2e::load::socket::RawSocket;
use chat_e2e::load::usage::Spent;
use chat_e2e::load::{Cast, Member, latencies};
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

#[derive(Default)]
struct Board {
    came: Mutex<HashMap<String, Instant>>,
    online: AtomicU64,
    offline: AtomicU64,
}

/// What somebody's coming and going costs is found by the first visits, which one
/// watches; what a delivery costs, by the others.
pub async fn run(args: &Args) -> anyhow::Result<()> {
    let stage = Stage::start(1).await?;
    let cast = Cast::new(&stage.chat).await?;
    let visits = (args.rate / 2.0 * args.seconds) as usize;
    ensure!(visits > 0 && args.watchers > 1, "more than nothing");
    let residents = cast.people(args.online).await?;
    eprintln!("opening {} sockets", residents.len());
    let mut there = Vec::new();
    for some in residents.chunks(64) {
        there.extend(try_join_all(some.iter().map(|one| cast.socket(one, 0))).await?);
    }
    let board = Arc::<Board>::default();
    let times = Arc::new(Mutex::new(latencies()));
    let mut watching = JoinSet::new();
    let mut spent = Vec::new();
    let mut counted = stage.counters().await?;
    for watchers in [1, args.watchers] {
        for watcher in cast.people(watchers - watching.len()).await? {
            let mut socket = cast.notices(&watcher, 0).await?;
            // Its hello.
            socket.next().await?;
            watching.spawn(watch(socket, board.clone(), times.clone()));
        }
        let guests = cast.people(visits).await?;
        counted = stage.counters().await?;
        times.lock().unwrap_or_else(PoisonError::into_inner).reset();
        spent.push(come_and_go(&stage, &cast, args, &guests, &board, watchers).await?);
    }
    watching.shutdown().await;
    let latency = Latency::of(&times.lock().unwrap_or_else(PoisonError::into_inner));
    let transitions = 2.0 * visits as f64;
    let deliveries = transitions * args.watchers as f64;
    let name = format!("{} watchers", args.watchers);
    let mut run = Run::new("presence", &name, "delivery")?;
    run.counters = stage.counters().await?.since(&counted, transitions);
    let [alone, all] = spent.as_slice() else {
        bail!("two times");
    };
    run.spent(all, deliveries, all.seconds);
    run.latency.insert("told who came".into(), latency);
    let more = all.total() - alone.total();
    for (name, figure) in [
        ("transitions", transitions),
        ("deliveries that should come", deliveries),
        ("people who stay", args.online as f64),
        (
            "ms of CPU for a transition that one sees",
            alone.total() / 1e3 / transitions,
        ),
        (
            "µs of CPU for each delivery more",
            more / (deliveries - transitions),
        ),
    ] {
        run.figures.insert(name.into(), figure);
    }
    run.notes.push(
        "counters are for 1,000 transitions; opening and closing the sockets is included".into(),
    );
    drop(there);
    run.save()
}

/// Until every watcher has heard that everybody has come and gone; what it took.
async fn come_and_go(
    stage: &Stage,
    cast: &Cast<'_>,
    args: &Args,
    guests: &[Member],
    board: &Board,
    watchers: usize,
) -> anyhow::Result<Spent> {
    board.online.store(0, Ordering::Release);
    board.offline.store(0, Ordering::Release);
    let before = stage.parts.read()?;
    let length = Duration::from_secs_f64(args.seconds);
    let mut due = pace::every(args.rate / 2.0, length, 1).swap_remove(0);
    let mut staying = JoinSet::new();
    for guest in guests {
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
    let expected = (guests.len() * watchers) as u64;
    let heard = || {
        let online = board.online.load(Ordering::Acquire);
        (online, board.offline.load(Ordering::Acquire))
    };
    await_until("everybody to hear of all", LATE, async || {
        Ok((heard() == (expected, expected)).then_some(()))
    })
    .await
    .with_context(|| format!("of {expected}: {:?}", heard()))?;
    Ok(before.until(&stage.parts.read()?))
}

async fn watch(
    mut socket: RawSocket,
    board: Arc<Board>,
    times: Arc<Mutex<Histogram<u64>>>,
) -> anyhow::Result<()> {
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
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            times.saturating_record(came.elapsed().as_micros() as u64);
        }
    }
}

fn id(frame: &[u8]) -> Option<&str> {
    const NAME: &str = "\"id\":\"";
    let text = std::str::from_utf8(frame).ok()?;
    text.split_once(NAME)?.1.get(..36)
}
