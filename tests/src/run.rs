//! A chat under a mixed load while the [nemesis](crate::nemesis) breaks it, recorded,
//! healed, read to its end and judged.

mod crowd;
mod load;
mod outcome;
mod settle;
mod sum;
mod under_load;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use chat_local::Stores;
use chat_local::testing::own_stores;
use tokio::time::{Instant, sleep, sleep_until};

pub use outcome::{Again, Outcome};
pub use sum::Sum;
pub use under_load::{LoadPlan, UnderLoad};

use crate::nemesis::{self, Nemesis, Strike, Ways};
use crate::{Chat, Site};

const BETWEEN_WORDS: Duration = Duration::from_secs(15);

#[derive(Clone, Debug)]
pub struct Plan {
    /// Its folder gets `schedule.jsonl` as well and, if a promise was broken, `logs`.
    pub load: LoadPlan,
    /// Of the load, or as long as the strikes take; setting up and reading everything in the end come on top.
    pub length: Duration,
    /// Pods of each service.
    pub replicas: usize,
    pub schedule: Vec<Strike>,
    /// Where the binaries of the services are; beside the running program if nothing.
    pub programs: Option<PathBuf>,
    /// More settings for every pod.
    pub env: Vec<(String, String)>,
}

/// Runs the plan. A broken promise is in the outcome; its history, its schedule and
/// the logs are in the folder.
///
/// # Errors
/// When the run could not be made: no place, no servers, or a component that did not
/// come back.
pub async fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    let folder = &plan.load.folder;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    nemesis::write(&folder.join("schedule.jsonl"), &plan.schedule)?;
    let (stores, cluster) = own_stores().await;
    let mut ways = Ways::to_stores(&stores.handle()).await?;
    let chat = Chat::start(cluster, |options| {
        options.replicas = plan.replicas;
        options.env.extend(ways.env());
        options.env.extend(plan.env.iter().cloned());
        if let Some(programs) = &plan.programs {
            options.programs.clone_from(programs);
        }
    })
    .await?;
    let door = ways.to_site(&chat.site).await?;
    let made = Box::pin(make(plan, &chat, &stores, ways, &door)).await;
    if !made.as_ref().is_ok_and(Outcome::is_clean) {
        // They must not hide what became of the run.
        if let Err(error) = keep_logs(&chat, &stores, &folder.join("logs")) {
            eprintln!("the logs were not kept: {error:#}");
        }
    }
    drop(chat);
    drop(stores);
    made
}

async fn make(
    plan: &Plan,
    chat: &Chat,
    stores: &Stores,
    ways: Ways,
    door: &Site,
) -> anyhow::Result<Outcome> {
    let mut run = UnderLoad::gather(&plan.load, door).await?;
    let nemesis = Nemesis::new(chat, stores, ways, run.recorder());
    let progress = run.progress();
    let until = Instant::now() + plan.length;
    run.meanwhile(async {
        let strikes = async {
            nemesis.strike(&plan.schedule).await?;
            sleep_until(until).await;
            anyhow::Ok(())
        };
        tokio::select! {
            struck = strikes => struck,
            never = tell(plan, progress, &nemesis) => never,
        }
    })
    .await?;
    nemesis.heal().await?;
    run.finish(chat, nemesis.struck()).await
}

/// A line now and then, for whoever waits.
async fn tell(plan: &Plan, progress: impl Fn() -> (u64, usize), nemesis: &Nemesis) -> ! {
    let begun = Instant::now();
    loop {
        sleep(BETWEEN_WORDS).await;
        let (said, waiting) = progress();
        eprintln!(
            "seed {}: {:>4} s of {}, {said} messages, {waiting} of them wait, {} strikes",
            plan.load.seed,
            begun.elapsed().as_secs(),
            plan.length.as_secs(),
            nemesis.struck().len(),
        );
    }
}

fn keep_logs(chat: &Chat, stores: &Stores, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let pods = chat.pods().iter().map(|pod| pod.log());
    let servers = stores.daemons().map(|daemon| daemon.log());
    for log in pods.chain(servers).chain([chat.nginx().log()]) {
        if let Some(name) = log.file_name() {
            fs::copy(log, folder.join(name))?;
        }
    }
    Ok(())
}
