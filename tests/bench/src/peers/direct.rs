//! Two by two: ejabberd with its archive in PostgreSQL, and ours beside the same server.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use chat_e2e::load::tape::await_notices;
use chat_e2e::load::{Cast, judge, latencies, pairs};
use futures::future::try_join_all;
use hdrhistogram::Histogram;

use super::xmpp::Xmpp;
use super::{Args, Peer, Round, TEXT, ejabberd, paired};
use crate::floor;
use crate::record::{Latency, Run};
use crate::stage::Stage;

const ACTIVE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(20);
/// Enough pairs of ours for so many messages in a second, of 220 each.
const FASTEST: f64 = 15_000.0;

pub async fn run(args: &Args) -> anyhow::Result<()> {
    let stage = Stage::start(1).await?;
    let cast = Cast::new(&stage.chat).await?;
    let peer = ejabberd::start(&stage.stores, 2 * ACTIVE).await?;
    let (mut messages, mut tapes) = (0, Vec::new());
    let (mut runs, mut rounds) = (Vec::new(), Vec::new());
    let what = format!("direct, {} outstanding", args.outstanding);
    let mut archived = 0;
    for round in 1..=args.rounds {
        eprintln!("{} {round} of {}", peer.name, args.rounds);
        let variant = format!("{what}, round {round} with {}", peer.name);
        let floors = floor::of_message(&stage.stores).await?;
        let mut theirs = talk(&peer, &stage, &variant, args).await?;
        archived += 2 * theirs.units as i64;
        ejabberd::await_archive(&stage.stores, archived).await?;
        let between = floor::of_message(&stage.stores).await?;
        let plan = pairs::Plan {
            active: ACTIVE,
            outstanding: args.outstanding,
            rate: None,
            length: args.length(),
            text: TEXT,
        };
        let count = ACTIVE + (FASTEST * args.seconds / 220.0) as usize;
        let pairs = pairs::meet(&cast, &stage.recorder, count, 0).await?;
        let before = stage.parts.read()?;
        let ran = pairs::run(&stage.recorder, pairs, &plan).await?;
        messages += ran.messages as i64;
        await_notices(&stage.chat, messages).await?;
        let spent = before.until(&stage.parts.read()?);
        let mut ours = Run::new("peers", &variant, "message")?;
        ours.spent(&spent, ran.messages as f64, ran.seconds);
        ours.latency
            .insert("delivered".into(), Latency::of(&ran.delivered));
        let after = floor::of_message(&stage.stores).await?;
        theirs.beside(&floors, &between);
        ours.beside(&between, &after);
        ours.floor_us = Some(floor::message_us(|name| ours.floor(name)));
        rounds.push(Round {
            ours: ours.cpu_us,
            theirs: theirs.cpu_us,
        });
        tapes.extend(ran.tapes);
        runs.extend([theirs, ours]);
    }
    let paired = paired(&what, peer.name, &rounds)?;
    peer.daemon.stop().await?;
    let facts = judge(&stage.chat, &stage.recorder, tapes, &stage.history).await?;
    for mut run in runs {
        if run.system == "chat" {
            run.facts.clone_from(&facts);
        }
        run.save()?;
    }
    paired.save()
}

async fn talk(peer: &Peer, stage: &Stage, variant: &str, args: &Args) -> anyhow::Result<Run> {
    let users: Vec<String> = (0..2 * ACTIVE).map(ejabberd::user).collect();
    let opened = try_join_all(users.iter().map(|user| Xmpp::sign_in(peer.port, user))).await?;
    let parts = ejabberd::parts(peer, &stage.stores).await?;
    let mut opened = opened.into_iter();
    let mut pairs = Vec::new();
    while let (Some(one), Some(two)) = (opened.next(), opened.next()) {
        pairs.push((one, two));
    }
    let before = parts.read()?;
    let (began, until) = (Instant::now(), Instant::now() + args.length());
    let talks = pairs
        .into_iter()
        .map(|(one, two)| tokio::spawn(write(one, two, until, args.outstanding)));
    let mut times = latencies();
    for talk in try_join_all(talks).await? {
        times.add(talk?)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let spent = before.until(&parts.read()?);
    let mut run = Run::new("peers", variant, "message")?;
    run.system = peer.name.to_owned();
    run.notes.push(peer.differs.to_owned());
    run.spent(&spent, times.len() as f64, seconds);
    run.latency.insert("delivered".into(), Latency::of(&times));
    Ok(run)
}

/// What one says, the other hears in the same order.
async fn write(
    mut one: Xmpp,
    mut two: Xmpp,
    until: Instant,
    outstanding: u32,
) -> anyhow::Result<Histogram<u64>> {
    let message = one.message_to(&two);
    let mut times = latencies();
    let mut under_way: VecDeque<Instant> = VecDeque::new();
    loop {
        while under_way.len() < outstanding as usize && Instant::now() < until {
            under_way.push_back(Instant::now());
            one.say(&message).await?;
        }
        if under_way.is_empty() {
            return Ok(times);
        }
        let heard = tokio::select! {
            heard = two.ear.hear() => heard?,
            // Its own errors would come here.
            heard = one.ear.hear() => {
                ensure!(heard? == 0, "the writer heard a message");
                continue;
            }
            () = tokio::time::sleep(PATIENCE) => bail!("a message was lost"),
        };
        for _ in 0..heard {
            let meant = under_way.pop_front().context("more was heard than said")?;
            times.saturating_record(meant.elapsed().as_micros() as u64);
        }
    }
}
