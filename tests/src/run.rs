//! A chat under a mixed load while the [nemesis](crate::nemesis) breaks it, recorded,
//! healed, read to its end and judged.

mod crowd;
mod load;
mod outcome;
mod settle;
mod sum;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use chat_local::Stores;
use tokio::time::{Instant, sleep};

pub use outcome::{Again, Outcome};
pub use sum::Sum;

use crate::checker;
use crate::history::{History, Recorder, close};
use crate::nemesis::{self, Nemesis, Strike, Struck};
use crate::{Chat, ChatClient};
use crowd::Crowd;
use load::Load;

/// From the last fault to a chat that is at rest.
const SETTLE: Duration = Duration::from_secs(60);
const BETWEEN_WORDS: Duration = Duration::from_secs(15);
const READ_BUFFER: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Of the load; setting up and reading everything in the end come on top.
    pub length: Duration,
    /// Messages in a second, of all people together.
    pub rate: f64,
    /// At least [`Plan::FEWEST`].
    pub people: usize,
    /// Pods of each service.
    pub replicas: usize,
    pub schedule: Vec<Strike>,
    /// Gets `history.jsonl`, `schedule.jsonl` and, if a promise was broken, `logs`.
    pub folder: PathBuf,
    /// Where the binaries of the services are; beside the running program if nothing.
    pub programs: Option<PathBuf>,
    /// More settings for every pod.
    pub env: Vec<(String, String)>,
    /// Rest so long before the end is read that presence can be judged.
    pub presence: bool,
}

impl Plan {
    pub const FEWEST: usize = crowd::FEWEST;

    pub fn history(&self) -> PathBuf {
        self.folder.join("history.jsonl")
    }
}

/// Runs the plan. A broken promise is in the outcome; its history, its schedule and
/// the logs are in the folder.
///
/// # Errors
/// When the run could not be made: no place, no servers, or a component that did not
/// come back.
pub async fn run(plan: &Plan) -> anyhow::Result<Outcome> {
    fs::create_dir_all(&plan.folder).with_context(|| plan.folder.display().to_string())?;
    nemesis::write(&plan.folder.join("schedule.jsonl"), &plan.schedule)?;
    let (chat, stores) = Chat::own_with(|options| {
        options.replicas = plan.replicas;
        options.env.extend(plan.env.iter().cloned());
        if let Some(programs) = &plan.programs {
            options.programs.clone_from(programs);
        }
    })
    .await?;
    let made = Box::pin(make(plan, &chat, &stores)).await;
    if !made.as_ref().is_ok_and(Outcome::is_clean) {
        // They must not hide what became of the run.
        if let Err(error) = keep_logs(&chat, &stores, &plan.folder.join("logs")) {
            eprintln!("the logs were not kept: {error:#}");
        }
    }
    drop(chat);
    drop(stores);
    made
}

async fn make(plan: &Plan, chat: &Chat, stores: &Stores) -> anyhow::Result<Outcome> {
    let recorder = Recorder::create(&plan.history())?;
    let crowd = Crowd::gather(chat, &recorder, plan).await?;
    let nemesis = Nemesis::new(chat, stores, &recorder);
    let until = Instant::now() + plan.length;
    let mut load = Load::new(&crowd, plan);
    let struck = {
        let both = async { tokio::join!(load.go(until), nemesis.strike(&plan.schedule, until)) };
        tokio::select! {
            ((), struck) = both => struck,
            never = tell(plan, &crowd, &nemesis) => never,
        }
    };
    struck?;
    nemesis.heal().await?;
    let mut broken = load.finish().await;
    let settled = settle::settle(chat, &crowd, SETTLE).await;
    if plan.presence {
        sleep(checker::PRESENCE_SETTLED).await;
    }
    let clients: Vec<&ChatClient> = crowd.clients.iter().map(AsRef::as_ref).collect();
    close(chat, &recorder, &clients, SETTLE).await?;
    let (people, clients) = (crowd.people.len(), crowd.clients.len());
    crowd.leave().await?;
    recorder.finish()?;

    let settled_s = match settled {
        Ok(time) => Some(time.as_secs_f64()),
        Err(error) => {
            broken.push(format!("{error:#}"));
            None
        }
    };
    let path = plan.history();
    let struck = nemesis.struck();
    let judged = tokio::task::spawn_blocking(move || judge(&path, &struck)).await??;
    broken.extend(judged.broken);
    Ok(Outcome {
        seed: plan.seed,
        seconds: plan.length.as_secs(),
        people,
        clients,
        settled_s,
        broken,
        ..judged
    })
}

fn judge(history: &Path, struck: &[Struck]) -> anyhow::Result<Outcome> {
    let lines = BufReader::with_capacity(READ_BUFFER, File::open(history)?);
    let history = History::read(lines)?;
    let mut facts = BTreeMap::new();
    let mut broken = Vec::new();
    for (invariant, verdict) in checker::check(&history) {
        match verdict {
            Ok(count) => _ = facts.insert(invariant.name.to_owned(), count),
            Err(words) => broken.push(format!("{}: {}", invariant.name, words.0)),
        }
    }
    Ok(Outcome {
        facts,
        broken,
        ..Outcome::measured(&history, struck)
    })
}

/// A line now and then, for whoever waits.
async fn tell(plan: &Plan, crowd: &Crowd, nemesis: &Nemesis) -> ! {
    let begun = Instant::now();
    loop {
        sleep(BETWEEN_WORDS).await;
        let (said, waiting) = crowd.progress();
        eprintln!(
            "seed {}: {:>4} s of {}, {said} messages, {waiting} of them wait, {} strikes",
            plan.seed,
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
