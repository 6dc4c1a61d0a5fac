//! A crowd under a mixed load, recorded, while something is done to the chat; then
//! read to its end and judged.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep};

use super::crowd::Crowd;
use super::load::Load;
use super::outcome::Outcome;
use super::settle;
use crate::checker;
use crate::history::{History, Recorder, close};
use crate::nemesis::Struck;
use crate::{Backstage, ChatClient, Site};

/// From the last fault to a chat that is at rest.
const SETTLE: Duration = Duration::from_secs(60);
const READ_BUFFER: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub struct LoadPlan {
    pub seed: u64,
    /// Messages in a second, of all people together.
    pub rate: f64,
    /// At least [`LoadPlan::FEWEST`].
    pub people: usize,
    /// Gets `history.jsonl`.
    pub folder: PathBuf,
    /// Rest so long before the end is read that presence can be judged.
    pub presence: bool,
}

impl LoadPlan {
    pub const FEWEST: usize = super::crowd::FEWEST;

    pub fn history(&self) -> PathBuf {
        self.folder.join("history.jsonl")
    }
}

pub struct UnderLoad {
    plan: LoadPlan,
    recorder: Recorder,
    crowd: Arc<Crowd>,
    load: Load,
    length: Duration,
}

impl UnderLoad {
    /// Everybody signs up, connects and gets to know their neighbours. Nobody writes yet.
    pub async fn gather(plan: &LoadPlan, site: &Site) -> anyhow::Result<Self> {
        fs::create_dir_all(&plan.folder).with_context(|| plan.folder.display().to_string())?;
        let recorder = Recorder::create(&plan.history())?;
        let crowd = Crowd::gather(site, &recorder, plan).await?;
        Ok(Self {
            plan: plan.clone(),
            recorder,
            load: Load::new(&crowd, plan),
            crowd,
            length: Duration::ZERO,
        })
    }

    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The first ones are of all people; then come second tabs.
    pub fn clients(&self) -> &[Arc<ChatClient>] {
        &self.crowd.clients
    }

    /// Messages that were written, and how many of them are not stored yet.
    pub fn progress(&self) -> impl Fn() -> (u64, usize) + use<> {
        let crowd = self.crowd.clone();
        move || crowd.progress()
    }

    /// People write as long as this takes.
    pub async fn meanwhile<T>(&mut self, disturbance: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = tokio::select! {
            done = disturbance => done,
            never = self.load.go() => never,
        };
        self.length += begun.elapsed();
        done
    }

    /// Waits until all is at rest, reads what there is, and judges it.
    ///
    /// # Errors
    /// When the end could not be read.
    pub async fn finish(
        self,
        chat: &impl Backstage,
        struck: Vec<Struck>,
    ) -> anyhow::Result<Outcome> {
        let Self {
            plan,
            recorder,
            crowd,
            load,
            length,
        } = self;
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
        let judged = tokio::task::spawn_blocking(move || judge(&path, &struck)).await??;
        broken.extend(judged.broken);
        Ok(Outcome {
            seed: plan.seed,
            seconds: length.as_secs(),
            people,
            clients,
            settled_s,
            broken,
            ..judged
        })
    }
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
