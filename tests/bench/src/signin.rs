//! Passwords: sign-ins beside the hash alone, and messages while wrong ones are tried.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chat_e2e::load::tape::await_notices;
use chat_e2e::load::{Cast, judge, latencies, pairs};
use chat_e2e::{Browser, Person};
use chat_events::Service;
use futures::future::try_join_all;
use serde_json::json;

use crate::floor;
use crate::record::{Latency, Run};
use crate::stage::Stage;

const PEOPLE: usize = 40;
const AT_ONCE: usize = 4;
const ACTIVE: usize = 32;
const WRONG: usize = 1_000;
/// Who tries them has so many addresses.
const ADDRESSES: usize = 200;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Messages in a second, beside the wrong passwords.
    #[arg(long, default_value_t = 1_000.0)]
    rate: f64,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    let length = Duration::from_secs_f64(args.seconds);
    let stage = Stage::start(1).await?;
    let auth = stage.chat.door(Service::Auth, 0);
    let mut people = Vec::with_capacity(PEOPLE);
    for _ in 0..PEOPLE / AT_ONCE {
        let some = (0..AT_ONCE).map(|_| Person::sign_up(&auth, "sign_in"));
        people.extend(try_join_all(some).await?);
    }
    let before_floor = floor::argon2()?;
    let before = stage.parts.read()?;
    let until = Instant::now() + length;
    let began = Instant::now();
    let signing = people.chunks(PEOPLE / AT_ONCE).map(async |some| {
        let mut times = latencies();
        // Each address may try twenty times a minute.
        for (_, person) in (0..19 * some.len()).zip(some.iter().cycle()) {
            if Instant::now() >= until {
                break;
            }
            let began = Instant::now();
            person.sign_in().await?;
            times.saturating_record(began.elapsed().as_micros() as u64);
        }
        anyhow::Ok(times)
    });
    let mut times = latencies();
    for some in try_join_all(signing).await? {
        times.add(some)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let spent = before.until(&stage.parts.read()?);
    let mut run = Run::new("signin", "right passwords", "sign-in")?;
    run.spent(&spent, times.len() as f64, seconds);
    run.latency.insert("signed in".into(), Latency::of(&times));
    run.beside(&[before_floor], &[floor::argon2()?]);
    run.floor_us = Some(run.floor("argon2"));
    run.save()?;
    Box::pin(beside_messages(&stage, args, length)).await
}

async fn beside_messages(stage: &Stage, args: &Args, length: Duration) -> anyhow::Result<()> {
    let cast = Cast::new(&stage.chat).await?;
    let plan = pairs::Plan {
        active: ACTIVE,
        outstanding: 1,
        rate: Some(args.rate),
        length,
        text: 256,
    };
    let count = (args.rate * args.seconds / 220.0).ceil() as usize + ACTIVE;
    let (mut messages, mut tapes, mut runs) = (0, Vec::new(), Vec::new());
    for (variant, guess) in [
        ("messages alone", false),
        ("messages beside wrong passwords", true),
    ] {
        let pairs = pairs::meet(&cast, &stage.recorder, count, 0).await?;
        let before = stage.parts.read()?;
        let tried = async {
            match guess {
                true => guess_passwords(stage, length).await,
                false => Ok(0),
            }
        };
        let (ran, tried) = tokio::join!(pairs::run(&stage.recorder, pairs, &plan), tried);
        let (ran, tried) = (ran?, tried?);
        messages += ran.messages as i64;
        await_notices(&stage.chat, messages).await?;
        let spent = before.until(&stage.parts.read()?);
        let mut run = Run::new("signin", variant, "message")?;
        run.spent(&spent, ran.messages as f64, ran.seconds);
        run.latency
            .insert("delivered".into(), Latency::of(&ran.delivered));
        run.figures.insert("wrong passwords".into(), tried as f64);
        tapes.extend(ran.tapes);
        runs.push(run);
    }
    let facts = judge(&stage.chat, &stage.recorder, tapes, &stage.history).await?;
    for mut run in runs {
        run.facts.clone_from(&facts);
        run.save()?;
    }
    Ok(())
}

/// A thousand at most; how many were looked at or refused in the time.
async fn guess_passwords(stage: &Stage, length: Duration) -> anyhow::Result<usize> {
    let auth = stage.chat.door(Service::Auth, 0);
    let until = Instant::now() + length;
    let tries = (0..ADDRESSES).map(async |_| {
        let browser = Browser::new(&auth)?;
        let mut tried = 0;
        while tried < WRONG / ADDRESSES && Instant::now() < until {
            let body = json!({ "email": "nobody@example.org", "password": "not this one" });
            let answer = browser.post("/api/auth/signin", &body).await?;
            ensure!(answer.status >= 400, "it was the right one: {answer}");
            tried += 1;
        }
        anyhow::Ok(tried)
    });
    Ok(try_join_all(tries).await?.into_iter().sum())
}
