//! People come and go while others watch: every watcher hears of everybody.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chat_e2e::await_until;
use chat_e2e::load::pace;
use chat_e2e::load::socket::RawSocket;
use chat_e2e::load::usage::Spent;
use chat_e2e::load::{Cast, Member, latencies};
use chat_events::limits;
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
const FRAMES: &str = "frames of a watcher in 250 ms";

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
    /// How many leave at once in the end.
    #[arg(long, default_value_t = 2_000)]
    leaving: usize,
}

/// What the watchers have heard of guests.
#[derive(Default)]
struct Board {
    /// When each guest came, or left with all others.
    since: Mutex<HashMap<String, Instant>>,
    came: Heard,
    went: Heard,
    frames: AtomicU64,
}

struct Heard {
    count: AtomicU64,
    times: Mutex<Histogram<u64>>,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            count: AtomicU64::new(0),
            times: Mutex::new(latencies()),
        }
    }
}

impl Heard {
    fn times(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until(&self, count: u64) -> anyhow::Result<()> {
        let heard = || self.count.load(Ordering::Acquire);
        await_until("everybody to hear of all", LATE, async || {
            Ok((heard() == count).then_some(()))
        })
        .await
        .with_context(|| format!("{} of {count}", heard()))
    }
}

impl Board {
    fn since(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        for heard in [&self.came, &self.went] {
            heard.count.store(0, Ordering::Release);
            heard.times().reset();
        }
        self.frames.store(0, Ordering::Release);
    }

    /// In each interval in which as much may be told as wants to be.
    fn frames_of_each(&self, watchers: usize, seconds: f64) -> f64 {
        let intervals = seconds / limits::PEOPLE_INTERVAL.as_secs_f64();
        self.frames.load(Ordering::Acquire) as f64 / watchers as f64 / intervals
    }
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
    let mut watching = JoinSet::new();
    let mut spent = Vec::new();
    let mut counted = stage.counters().await?;
    for watchers in [1, args.watchers] {
        for watcher in cast.people(watchers - watching.len()).await? {
            let mut socket = cast.notices(&watcher, 0).await?;
            // Its hello.
            socket.next().await?;
            watching.spawn(watch(socket, board.clone()));
        }
        let guests = cast.people(visits).await?;
        counted = stage.counters().await?;
        spent.push(come_and_go(&stage, &cast, args, &guests, &board, watchers).await?);
    }
    let transitions = 2.0 * visits as f64;
    let deliveries = transitions * args.watchers as f64;
    let name = format!("{} watchers", args.watchers);
    let mut run = Run::new("presence", &name, "delivery")?;
    run.counters = stage.counters().await?.since(&counted, transitions);
    let [alone, all] = spent.as_slice() else {
        bail!("two times");
    };
    run.spent(all, deliveries, all.seconds);
    let latency = Latency::of(&board.came.times());
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
        (FRAMES, board.frames_of_each(args.watchers, all.seconds)),
    ] {
        run.figures.insert(name.into(), figure);
    }
    run.notes.push(
        "counters are for 1,000 transitions; opening and closing the sockets is included".into(),
    );
    run.save()?;
    if args.leaving > 0 {
        leave_at_once(&stage, &cast, args, &board).await?.save()?;
    }
    drop(there);
    Ok(())
}

async fn leave_at_once(
    stage: &Stage,
    cast: &Cast<'_>,
    args: &Args,
    board: &Board,
) -> anyhow::Result<Run> {
    eprintln!("{} leave at once", args.leaving);
    let told = (args.leaving * args.watchers) as u64;
    board.clear();
    let guests = cast.people(args.leaving).await?;
    let mut there = Vec::new();
    for some in guests.chunks(64) {
        let now = Instant::now();
        board
            .since()
            .extend(some.iter().map(|guest| (guest.id.to_string(), now)));
        there.extend(try_join_all(some.iter().map(|one| cast.socket(one, 0))).await?);
    }
    board.came.until(told).await?;
    board.clear();
    let now = Instant::now();
    for left in board.since().values_mut() {
        *left = now;
    }
    let counted = stage.counters().await?;
    let before = stage.parts.read()?;
    drop(there);
    board.went.until(told).await?;
    let spent = before.until(&stage.parts.read()?);
    let name = format!("{} leave at once", args.leaving);
    let mut run = Run::new("presence", &name, "delivery")?;
    run.counters = stage.counters().await?.since(&counted, args.leaving as f64);
    run.spent(&spent, told as f64, spent.seconds);
    let latency = Latency::of(&board.went.times());
    run.latency.insert("told who left".into(), latency);
    let frames = board.frames_of_each(args.watchers, spent.seconds);
    run.figures.insert(FRAMES.into(), frames);
    run.notes.push(
        "counters are for 1,000 who leave; whoever leaves has 1.2 s to come back before others are told".into(),
    );
    Ok(run)
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
    board.clear();
    let before = stage.parts.read()?;
    let length = Duration::from_secs_f64(args.seconds);
    let mut due = pace::every(args.rate / 2.0, length, 1).swap_remove(0);
    let mut staying = JoinSet::new();
    for guest in guests {
        let Some(_) = due.recv().await else { break };
        board.since().insert(guest.id.to_string(), Instant::now());
        let socket = cast.socket(guest, 0).await?;
        staying.spawn(async move {
            sleep(STAY).await;
            drop(socket);
        });
    }
    while staying.join_next().await.is_some() {}
    let expected = (guests.len() * watchers) as u64;
    board.came.until(expected).await?;
    board.went.until(expected).await?;
    Ok(before.until(&stage.parts.read()?))
}

async fn watch(mut socket: RawSocket, board: Arc<Board>) -> anyhow::Result<()> {
    loop {
        let frame = socket.next().await?;
        let came_now = frame.starts_with(ONLINE);
        if !came_now && !frame.starts_with(OFFLINE) {
            continue;
        }
        board.frames.fetch_add(1, Ordering::AcqRel);
        let heard = if came_now { &board.came } else { &board.went };
        let since = board.since();
        let mut times = heard.times();
        // Whoever stays is not among them.
        for since in ids(&frame)?.filter_map(|id| since.get(id)) {
            heard.count.fetch_add(1, Ordering::AcqRel);
            times.saturating_record(since.elapsed().as_micros() as u64);
        }
    }
}

/// Of the people whom a frame tells of.
fn ids(frame: &[u8]) -> anyhow::Result<impl Iterator<Item = &str>> {
    const NAME: &str = "\"id\":\"";
    let pieces = std::str::from_utf8(frame)?.split(NAME).skip(1);
    Ok(pieces.filter_map(|piece| piece.get(..36)))
}
