//! Sockets that say nothing: what each keeps, and what it takes.

use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::await_until;
use chat_e2e::load::socket::RawSocket;
use chat_e2e::load::{Cast, Member, usage};
use chat_events::{Service, UserId};
use futures::future::try_join_all;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::record::Run;
use crate::stage::Stage;

const AT_ONCE: usize = 64;
/// Conversations of each, with one other each.
const CONVERSATIONS: usize = 20;
const SETTLE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// Seconds of rest; heartbeats come every 20.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.sockets > CONVERSATIONS,
        "more sockets than {CONVERSATIONS}"
    );
    let stage = Stage::start(1).await?;
    let cast = Cast::new(&stage.chat).await?;
    let pid = stage.chat.pod(Service::SocketHandler, 0).pid().await;
    let pid = pid.context("socket-handler does not run")?;
    eprintln!("making {} people and their conversations", args.sockets);
    let people = cast.people(args.sockets).await?;
    // In a ring: everybody talks to the next ten, and to the ten before.
    let groups: Vec<Vec<UserId>> = (0..people.len())
        .flat_map(|one| {
            let people = &people;
            (1..=CONVERSATIONS / 2)
                .map(move |step| vec![people[one].id, people[(one + step) % people.len()].id])
        })
        .collect();
    for some in groups.chunks(10_000) {
        cast.conversations(some).await?;
    }
    // Pools and code are there, and allocators have had their first turns.
    let first = open(&cast, &people[..AT_ONCE.min(people.len())]).await?;
    drop(first);
    closed(&stage, 0).await?;
    let base = usage::resident(pid)?;

    eprintln!("opening {} sockets", args.sockets);
    let mut resting = JoinSet::new();
    for some in people.chunks(AT_ONCE) {
        for mut socket in open(&cast, some).await? {
            resting.spawn(async move {
                loop {
                    let frame = socket.next().await?;
                    drop(frame);
                    socket.rest();
                }
                #[expect(unreachable_code, reason = "the type of the task")]
                anyhow::Ok(())
            });
        }
    }
    sleep(SETTLE).await;
    let open_memory = usage::resident(pid)?;
    eprintln!("resting");
    let counted = stage.counters().await?;
    let before = stage.parts.read()?;
    sleep(Duration::from_secs_f64(args.seconds)).await;
    let spent = before.until(&stage.parts.read()?);
    let rested_memory = usage::resident(pid)?;
    ensure!(
        resting.try_join_next().is_none(),
        "a socket was closed while it rested"
    );
    let socket_seconds = args.sockets as f64 * spent.seconds;
    let mut run = Run::new(
        "idle",
        &format!("{} sockets", args.sockets),
        "socket and second",
    )?;
    run.counters = stage.counters().await?.since(&counted, socket_seconds);
    run.spent(&spent, socket_seconds, spent.seconds);
    resting.shutdown().await;
    closed(&stage, 0).await?;
    sleep(SETTLE).await;
    let left_memory = usage::resident(pid)?;
    let each = |memory: u64| memory.saturating_sub(base) as f64 / args.sockets as f64 / 1e3;
    for (name, figure) in [
        ("KB of a socket when it opened", each(open_memory)),
        ("KB of a socket after its rest", each(rested_memory)),
        ("MB before the first", base as f64 / 1e6),
        ("MB after the last", left_memory as f64 / 1e6),
    ] {
        run.figures.insert(name.into(), figure);
    }
    run.save()
}

async fn open(cast: &Cast<'_>, some: &[Member]) -> anyhow::Result<Vec<RawSocket>> {
    try_join_all(some.iter().map(|member| cast.socket(member, 0))).await
}

async fn closed(stage: &Stage, left: usize) -> anyhow::Result<()> {
    await_until("the sockets to be closed", PATIENCE, async || {
        let open = stage
            .chat
            .metric(Service::SocketHandler, 0, "chat_sockets{kind=\"chat\"}")
            .await?;
        Ok((open <= left as f64).then_some(()))
    })
    .await
}
