//! Rooms in lock step: the NATS server, and ours.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chat_e2e::load::room::{self, gather};
use chat_e2e::load::tape::await_notices;
use chat_e2e::load::{Cast, judge, latencies};
use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Args, Peer, Round, TEXT, body, marks, nats, paired};
use crate::floor;
use crate::record::{Latency, Run};
use crate::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(20);

pub async fn run(args: &Args) -> anyhow::Result<()> {
    let stage = Stage::start(1).await?;
    let cast = Cast::new(&stage.chat).await?;
    let peer = nats::start().await?;
    let (mut notices, mut tapes, mut runs, mut rounds) = (0, Vec::new(), Vec::new(), Vec::new());
    let what = format!("room of {}", args.members);
    for round in 1..=args.rounds {
        eprintln!("{} {round} of {}", peer.name, args.rounds);
        let variant = format!("{what}, round {round} with {}", peer.name);
        let floor = floor::fan_out().await?;
        let mut theirs = lock_step(&peer, &variant, args).await?;
        let between = floor::fan_out().await?;
        let plan = room::Plan {
            rate: None,
            length: args.length(),
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
    let pairs = paired(&what, peer.name, &rounds)?;
    peer.daemon.stop().await?;
    let facts = judge(&stage.chat, &stage.recorder, tapes, &stage.history).await?;
    for mut run in runs {
        if run.system == "chat" {
            run.facts.clone_from(&facts);
        }
        run.save()?;
    }
    pairs.save()
}

async fn lock_step(peer: &Peer, variant: &str, args: &Args) -> anyhow::Result<Run> {
    let mut run = Run::new("peers", variant, "delivery")?;
    run.system = peer.name.to_owned();
    run.notes.push(peer.differs.to_owned());
    let members = args.members;
    let mut listeners = JoinSet::new();
    let (heard, mut hear) = mpsc::unbounded_channel::<()>();
    for _ in 0..members {
        let mut socket = nats::member(peer).await?;
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
    let writer = nats::writer(peer).await?;
    let message = nats::message(&body());
    let (mut last, mut deliveries): (Histogram<u64>, u64) = (latencies(), 0);
    let before = peer.parts.read()?;
    let (began, until) = (Instant::now(), Instant::now() + args.length());
    while Instant::now() < until {
        let meant = Instant::now();
        writer.sender().write(&message).await?;
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
    run.spent(&spent, deliveries as f64, seconds);
    run.latency.insert("last member".into(), Latency::of(&last));
    Ok(run)
}
