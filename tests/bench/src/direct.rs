//! Two by two, each message durable before its receiver hears of it.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::load::counters::Counters;
use chat_e2e::load::tape::await_notices;
use chat_e2e::load::{Cast, judge, pairs};

use crate::floor;
use crate::machine;
use crate::record::{Latency, Run};
use crate::stage::Stage;

const ACTIVE: usize = 32;
const TEXT: usize = 256;
/// A pair says 220 messages; there are enough for so many in a second.
const FASTEST: f64 = 15_000.0;
const OF_A_PAIR: f64 = 220.0;
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub struct Args {
    /// Seconds of each variant.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Pods of each service.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// Only variants whose name has this in it.
    #[arg(long)]
    only: Option<String>,
    /// Print which statements PostgreSQL was busy with.
    #[arg(long)]
    statements: bool,
}

struct Variant {
    name: &'static str,
    outstanding: u32,
    rate: Option<f64>,
    active: usize,
}

const VARIANTS: [Variant; 5] = [
    Variant {
        name: "at rest",
        outstanding: 1,
        rate: Some(20.0),
        active: 4,
    },
    Variant {
        name: "1 outstanding",
        outstanding: 1,
        rate: None,
        active: ACTIVE,
    },
    Variant {
        name: "8 outstanding",
        outstanding: 8,
        rate: None,
        active: ACTIVE,
    },
    Variant {
        name: "1,000 a second",
        outstanding: 1,
        rate: Some(1_000.0),
        active: ACTIVE,
    },
    Variant {
        name: "3,000 a second",
        outstanding: 1,
        rate: Some(3_000.0),
        active: ACTIVE,
    },
];

pub async fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.replicas > 0 && args.seconds > 0.0, "more than nothing");
    let stage = Stage::start(args.replicas).await?;
    let cast = Cast::new(&stage.chat).await?;
    let settings = machine::durable_settings(&stage.stores).await?;
    let length = Duration::from_secs_f64(args.seconds);
    let mut messages = 0;
    let mut tapes = Vec::new();
    let warm = pairs::Plan {
        active: ACTIVE,
        outstanding: 1,
        rate: None,
        length: WARM_UP,
        text: TEXT,
    };
    let floors = floor::of_message(&stage.stores).await?;
    let at_rest = stage.at_rest().await?;
    let mut runs = Vec::new();
    let wanted = |name: &str| args.only.as_ref().is_none_or(|only| name.contains(only));
    // The second one of each pair is on the last pod.
    for variant in VARIANTS.iter().filter(|variant| wanted(variant.name)) {
        eprintln!("{}", variant.name);
        let plan = pairs::Plan {
            active: variant.active,
            outstanding: variant.outstanding,
            rate: variant.rate,
            length,
            text: TEXT,
        };
        let ran = pairs::run(
            &stage.recorder,
            meet(&stage, &cast, &warm, args).await?,
            &warm,
        )
        .await?;
        messages += ran.messages as i64;
        tapes.extend(ran.tapes);
        let pairs = meet(&stage, &cast, &plan, args).await?;
        await_notices(&stage.chat, messages).await?;
        let counted = stage.counters().await?;
        let before = stage.parts.read()?;
        let ran = pairs::run(&stage.recorder, pairs, &plan).await?;
        messages += ran.messages as i64;
        await_notices(&stage.chat, messages).await?;
        let spent = before.until(&stage.parts.read()?);
        let units = ran.messages as f64;
        let name = match args.replicas {
            1 => variant.name.to_owned(),
            more => format!("{}, {more} pods", variant.name),
        };
        let mut run = Run::new("direct", &name, "message")?;
        run.settings = settings.clone();
        run.spent(&spent, units, ran.seconds);
        let share = at_rest * spent.seconds / units;
        run.figures.insert(
            "µs that servers at rest take in the same time".into(),
            share,
        );
        run.counters = stage.counters().await?.since(&counted, units);
        for (name, histogram) in [("accepted", &ran.accepted), ("delivered", &ran.delivered)] {
            run.latency.insert(name.into(), Latency::of(histogram));
        }
        if ran.ran_out {
            run.notes.push(format!(
                "the pairs had said their share after {:.1} s",
                ran.seconds
            ));
        }
        tapes.extend(ran.tapes);
        runs.push(run);
    }
    if args.statements {
        for (ms, calls, text) in Counters::slowest(&stage.stores).await? {
            eprintln!("{ms:10.1} ms {calls:8} × {text}");
        }
    }
    let floors_after = floor::of_message(&stage.stores).await?;
    eprintln!("judging the history");
    let facts = judge(&stage.chat, &stage.recorder, tapes, &stage.history).await?;
    for mut run in runs {
        run.beside(&floors, &floors_after);
        run.floor_us = Some(floor::message_us(|name| run.floor(name)));
        run.facts.clone_from(&facts);
        run.save()?;
    }
    Ok(())
}

async fn meet(
    stage: &Stage,
    cast: &Cast<'_>,
    plan: &pairs::Plan,
    args: &Args,
) -> anyhow::Result<Vec<pairs::Pair>> {
    let fastest = plan.rate.unwrap_or(FASTEST);
    let needed = fastest * plan.length.as_secs_f64() / OF_A_PAIR;
    // Those that are at it when time is over have not said all they could.
    let count = needed.ceil() as usize + plan.active;
    pairs::meet(cast, &stage.recorder, count, args.replicas - 1).await
}
