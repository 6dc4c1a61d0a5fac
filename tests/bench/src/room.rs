//! One message to all members of a conversation.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::load::room::{self, gather};
use chat_e2e::load::tape::await_notices;
use chat_e2e::load::{Cast, judge};

use crate::floor;
use crate::machine;
use crate::record::{Latency, Run};
use crate::stage::Stage;

const TEXT: usize = 256;
const SLOW_RATE: f64 = 20.0;

#[derive(clap::Args)]
pub struct Args {
    /// Seconds of each variant.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Members of the rooms; ten thousand and more want two pods.
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    members: Vec<usize>,
    /// Pods of each service.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.replicas > 0 && args.seconds > 0.0, "more than nothing");
    let stage = Stage::start(args.replicas).await?;
    let cast = Cast::new(&stage.chat).await?;
    let settings = machine::durable_settings(&stage.stores).await?;
    let length = Duration::from_secs_f64(args.seconds);
    let (mut runs, mut tapes) = (Vec::new(), Vec::new());
    let mut notices = 0;
    for members in args.members.iter().copied() {
        for (name, rate, slow) in [
            ("lock step", None, false),
            ("20 a second", Some(SLOW_RATE), false),
            ("20 a second, one slow reader", Some(SLOW_RATE), true),
        ] {
            eprintln!("{members} members, {name}");
            let plan = room::Plan {
                rate,
                length,
                text: TEXT,
                slow,
            };
            let gathered = gather(&cast, &stage.recorder, members, args.replicas, slow).await?;
            let floor = floor::fan_out().await?;
            let counted = stage.counters().await?;
            let before = stage.parts.read()?;
            let ran = room::run(&stage.recorder, gathered, &plan).await?;
            let others = members - 1 + usize::from(slow);
            notices += ran.messages as i64 * others as i64;
            await_notices(&stage.chat, notices).await?;
            let spent = before.until(&stage.parts.read()?);
            let units = ran.deliveries as f64;
            let mut run = Run::new("room", &format!("{members} members, {name}"), "delivery")?;
            run.counters = stage.counters().await?.since(&counted, units);
            run.settings = settings.clone();
            run.spent(&spent, units, ran.seconds);
            run.figures.insert("messages".into(), ran.messages as f64);
            run.figures.insert("members".into(), members as f64);
            for (name, histogram) in [("last member", &ran.last), ("delivered", &ran.delivered)] {
                run.latency.insert(name.into(), Latency::of(histogram));
            }
            run.notes.push(
                "members are made in the tables, and each has a notice for each message".into(),
            );
            run.beside(&[floor], &[floor::fan_out().await?]);
            run.floor_us = Some(run.floor("ws-fanout"));
            tapes.extend(ran.tapes);
            runs.push(run);
        }
    }
    eprintln!("judging the history");
    let facts = judge(&stage.chat, &stage.recorder, tapes, &stage.history).await?;
    for mut run in runs {
        run.facts.clone_from(&facts);
        run.save()?;
    }
    Ok(())
}
