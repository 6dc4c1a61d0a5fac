//! Sockets that say nothing: what each keeps, and what it takes.

use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::await_until;
use chat_e2e::load::{Cast, usage};
use chat_events::{Service, UserId};
use futures::future::try_join_all;
use tokio::time::sleep;

use crate::crowd::{self, Crowd};
use crate::record::Run;
use crate::stage::Stage;

/// Conversations of each, with one other each.
const CONVERSATIONS: usize = 20;
const SETTLE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// Pods of each service; a pod takes 20,000 sockets.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// Seconds of rest; heartbeats come every 20, and tokens end after 600.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(
        args.sockets > CONVERSATIONS,
        "more sockets than {CONVERSATIONS}"
    );
    let mut stage = Stage::start(args.replicas).await?;
    let mut pids = Vec::new();
    for pod in 0..args.replicas {
        let pid = stage.chat.pod(Service::SocketHandler, pod).pid().await;
        pids.push(pid.context("socket-handler does not run")?);
    }
    let memory = || -> anyhow::Result<u64> { pids.iter().map(|pid| usage::resident(*pid)).sum() };
    let cast = Cast::new(&stage.chat).await?;
    eprintln!("making {} people and their conversations", args.sockets);
    let mut people = Vec::new();
    while people.len() < args.sockets {
        people.extend(
            cast.people((args.sockets - people.len()).min(10_000))
                .await?,
        );
    }
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
    for pod in 0..args.replicas {
        let first = &people[..crowd::AT_ONCE.min(people.len())];
        drop(try_join_all(first.iter().map(|member| cast.socket(member, pod))).await?);
        closed(&stage, pod).await?;
    }
    let base = memory()?;

    eprintln!("opening {} sockets", args.sockets);
    let doors: Vec<_> = (0..args.replicas).map(|pod| cast.door(pod)).collect();
    let mut crowds = Vec::new();
    let mut opened = crowd::AT_ONCE * args.replicas;
    let share = people.len().div_ceil(args.replicas);
    for (door, some) in doors.iter().zip(people.chunks(share)) {
        for some in some.chunks(crowd::MOST) {
            let tokens = some.iter().map(|member| cast.token(member)).collect();
            let crowd = Crowd::open(door, opened, tokens).await?;
            stage.parts.add_helper(crowd.pid()?);
            crowds.push(crowd);
            opened += some.len();
        }
    }
    sleep(SETTLE).await;
    let open_memory = memory()?;
    eprintln!("resting");
    let counted = stage.counters().await?;
    let before = stage.parts.read()?;
    sleep(Duration::from_secs_f64(args.seconds)).await;
    let spent = before.until(&stage.parts.read()?);
    let rested_memory = memory()?;
    for crowd in &mut crowds {
        crowd.still_there()?;
    }
    let socket_seconds = args.sockets as f64 * spent.seconds;
    let pods = match args.replicas {
        1 => String::new(),
        many => format!(", {many} pods"),
    };
    let variant = format!("{} sockets{pods}", args.sockets);
    let mut run = Run::new("idle", &variant, "socket and second")?;
    run.counters = stage.counters().await?.since(&counted, socket_seconds);
    run.spent(&spent, socket_seconds, spent.seconds);
    drop(crowds);
    for pod in 0..args.replicas {
        closed(&stage, pod).await?;
    }
    sleep(SETTLE).await;
    let left_memory = memory()?;
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

async fn closed(stage: &Stage, pod: usize) -> anyhow::Result<()> {
    await_until("the sockets to be closed", PATIENCE, async || {
        let open = stage
            .chat
            .metric(Service::SocketHandler, pod, "chat_sockets{kind=\"chat\"}")
            .await?;
        Ok((open == 0.0).then_some(()))
    })
    .await
}
