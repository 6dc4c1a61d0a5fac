//! From exec to ready, and the memory then.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chat_e2e::load::{latencies, usage};
use chat_events::Service;

use crate::record::{Latency, Run};
use crate::stage::Stage;

const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

#[derive(clap::Args)]
pub struct Args {
    /// Cold starts of each service.
    #[arg(long, default_value_t = 20)]
    times: usize,
}

pub async fn run(args: &Args) -> anyhow::Result<()> {
    ensure!(args.times > 0, "more than nothing");
    let began = Instant::now();
    let stage = Stage::start(1).await?;
    let whole = began.elapsed();
    for service in Service::ALL {
        let pod = stage.chat.pod(service, 0);
        let admin = pod.place().admin_url();
        let (mut live, mut ready) = (latencies(), latencies());
        let (mut memory, mut work) = (0, 0.0);
        for _ in 0..args.times {
            pod.stop().await?;
            let began = Instant::now();
            pod.launch().await?;
            answers(&format!("{admin}/livez")).await?;
            live.saturating_record(began.elapsed().as_micros() as u64);
            answers(&format!("{admin}/readyz")).await?;
            ready.saturating_record(began.elapsed().as_micros() as u64);
            let pid = pod.pid().await.context("it has ended")?;
            memory += usage::resident(pid)?;
            let mut parts = usage::Parts::default();
            parts.add(service.name(), pid);
            work += parts.read()?.used();
        }
        let times = args.times as f64;
        let mut run = Run::new("start", service.name(), "start")?;
        (run.units, run.seconds) = (times, ready.mean() * times / 1e6);
        run.cpu_us = work / times;
        run.latency.insert("live".into(), Latency::of(&live));
        run.latency.insert("ready".into(), Latency::of(&ready));
        run.figures
            .insert("MB resident when ready".into(), memory as f64 / times / 1e6);
        run.save()?;
    }
    writeln!(
        std::io::stdout(),
        "stores and services, from nothing: {:.1} s",
        whole.as_secs_f64()
    )?;
    Ok(())
}

async fn answers(url: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let asked = reqwest::get(url).await;
        if asked.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{url} does not answer");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
