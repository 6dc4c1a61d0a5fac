//! Bugs that are put into the services on purpose, and the hunts that find them:
//! a proof of "nothing was lost" is worth what it would have found. A hunt is a
//! short run of a whole chat with the strikes that bring the bug to light. The
//! chat with the bug must break the promise that is meant, within [`SEEDS`] seeds;
//! without the bug, the run of the same seed must keep every promise.
//!
//! What each bug does stands in `services/kit/src/planted.rs`.

mod beside;
mod delivery;
mod programs;
mod sending;
mod stage;

use std::path::Path;

use anyhow::{Context, bail, ensure};
use futures::future::LocalBoxFuture;

use crate::checker::{Broken, Invariant, Table, Verdict};
use crate::history::History;
use stage::Stage;

/// A bug that is not found in so many runs counts as not found.
pub const SEEDS: u64 = 10;

pub struct PlantedBug {
    /// As `PLANTED` names it.
    pub name: &'static str,
    /// The invariant that must find it; others may as well.
    pub found_by: &'static str,
    play: for<'a> fn(&'a mut Stage) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

macro_rules! bugs {
    ($($name:literal $found_by:literal $play:path;)*) => {
        pub const BUGS: &[PlantedBug] = &[
            $(PlantedBug {
                name: $name,
                found_by: $found_by,
                play: |stage| Box::pin($play(stage)),
            },)*
        ];
    };
}

bugs! {
    "ack-before-commit" "I1" sending::killed_while_storing;
    "accepted-before-confirm" "I1" sending::killed_while_accepting;
    "no-mandatory" "I1" sending::unbound_queue;
    "dedupe-forgets" "I3" sending::said_again;
    "seq-from-max" "I4" sending::read_and_answered;
    "order-by-clock" "I6" sending::written_before_and_sent_after;
    "fan-out-to-everybody" "I8" delivery::strangers_are_near;
    "read-mark-falls" "I10" delivery::another_tab_lags;
    "resume-half" "I21" delivery::away_for_a_while;
    "no-tail-check" "I21" delivery::last_push_lost;
    "presence-without-ttl" "I12" beside::pod_never_returns;
    "stale-cache" "I14" beside::pages_read_while_written;
    "ack-before-effect" "I16" beside::killed_while_noticing;
    "notice-twice" "I16" beside::told_again;
    "panic-on-bad-event" "I16" beside::poison_among_notices;
    "requeue-for-ever" "I18" beside::poison_among_sends;
    "outbox-cursor" "I17" beside::slow_sign_up;
    "revoke-not-told" "I19" beside::tab_signs_out;
    "refresh-branch" "I19" beside::two_tabs_refresh;
    "pool-leak" "I20" beside::refreshes_refused;
}

pub struct Found {
    pub seed: u64,
    /// The counter-example.
    pub words: String,
}

impl PlantedBug {
    pub fn named(name: &str) -> anyhow::Result<&'static Self> {
        let mut bugs = BUGS.iter();
        bugs.find(|bug| bug.name == name)
            .with_context(|| format!("no bug is called {name}"))
    }

    /// # Errors
    /// When the bug is not found, or when a promise is broken without it.
    pub async fn hunt(&self) -> anyhow::Result<Found> {
        let programs = programs::build().await?;
        let mut last = String::new();
        for seed in 1..=SEEDS {
            let run = self.run(&programs, Some(self.name), seed);
            let (history, verdicts) = run.await.with_context(|| format!("seed {seed}"))?;
            if let Err(Broken(words)) = self.verdict(&verdicts)? {
                let without = self.without(&programs, seed).await;
                without.with_context(|| format!("seed {seed} without the bug"))?;
                return Ok(Found { seed, words });
            }
            last = table(&history, &verdicts);
        }
        let (name, found_by) = (self.name, self.found_by);
        bail!("{name} was not found by {found_by} in {SEEDS} seeds; the last one:\n{last}")
    }

    /// The same run of a chat that is as it should be.
    async fn without(&self, programs: &Path, seed: u64) -> anyhow::Result<()> {
        let (history, verdicts) = self.run(programs, None, seed).await?;
        let kept = verdicts.iter().all(|(_, verdict)| verdict.is_ok());
        let told = self.verdict(&verdicts)?;
        ensure!(kept && told != Ok(0), "{}", table(&history, &verdicts));
        Ok(())
    }

    async fn run(
        &self,
        programs: &Path,
        bug: Option<&str>,
        seed: u64,
    ) -> anyhow::Result<(History, Verdicts)> {
        let mut stage = Stage::set(programs, bug, seed).await?;
        (self.play)(&mut stage).await?;
        let history = stage.close().await?;
        let verdicts = crate::checker::check(&history);
        Ok((history, verdicts))
    }

    fn verdict(&self, verdicts: &Verdicts) -> anyhow::Result<Verdict> {
        let mut verdicts = verdicts.iter();
        let meant = verdicts.find(|(invariant, _)| invariant.name == self.found_by);
        let (_, verdict) = meant.with_context(|| format!("nobody checks {}", self.found_by))?;
        Ok(verdict.clone())
    }
}

type Verdicts = Vec<(&'static Invariant, Verdict)>;

fn table(history: &History, verdicts: &Verdicts) -> String {
    Table { history, verdicts }.to_string()
}
