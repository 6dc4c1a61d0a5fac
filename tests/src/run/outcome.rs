//! What a run says in numbers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::Serialize;

use crate::checker;
use crate::history::{Content, History, Place, SendIx};
use crate::nemesis::{Fault, Struck};

/// How often each component was struck, by fault.
pub type Strikes = BTreeMap<&'static str, BTreeMap<Fault, u64>>;

/// The first success after a strike, in milliseconds from the moment at which the
/// component was started again or let go on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Again {
    pub component: &'static str,
    pub fault: Fault,
    /// Of a message that was sent after that moment.
    pub acknowledged_ms: Option<u64>,
    /// The same, but shown with its number, and so stored.
    pub stored_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    pub seed: u64,
    /// Of load.
    pub seconds: u64,
    pub people: usize,
    pub clients: usize,
    pub operations: u64,
    pub acknowledged: u64,
    /// Acknowledged, and not in the log.
    pub lost: u64,
    /// More than once in a log or in what a client shows.
    pub duplicates: u64,
    /// Numbers under which somebody saw something else than the log has.
    pub order_differences: u64,
    /// Frames that told a client what it had heard.
    pub wire_repeats: u64,
    pub strikes: Strikes,
    pub again: Vec<Again>,
    /// From the end of the last fault until all was at rest.
    pub settled_s: Option<f64>,
    /// Facts for each invariant that holds.
    pub facts: BTreeMap<String, u64>,
    /// Every broken promise, in words.
    pub broken: Vec<String>,
}

impl Outcome {
    pub fn measured(history: &History, struck: &[Struck]) -> Self {
        let mut strikes = Strikes::new();
        for Struck { strike, .. } in struck {
            let faults = strikes.entry(strike.target.component()).or_default();
            *faults.entry(strike.fault).or_default() += 1;
        }
        let sends = history.sends.iter();
        let acknowledged = sends.filter(|send| send.answered.is_some()).count();
        Self {
            operations: history.operations,
            acknowledged: acknowledged as u64,
            lost: lost(history),
            duplicates: duplicates(history),
            order_differences: order_differences(history),
            wire_repeats: checker::repeats_on_the_wire(history) as u64,
            strikes,
            again: again(history, struck),
            ..Self::default()
        }
    }

    pub fn is_clean(&self) -> bool {
        self.broken.is_empty()
            && self.lost == 0
            && self.duplicates == 0
            && self.order_differences == 0
    }

    pub fn kills(&self) -> u64 {
        let faults = self.strikes.values();
        faults.filter_map(|faults| faults.get(&Fault::Kill)).sum()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strikes: u64 = self.strikes.values().flat_map(BTreeMap::values).sum();
        write!(
            f,
            "seed {}: {} acknowledged, {} lost, {} visible duplicates, {} order differences; {} strikes, {} kills",
            self.seed,
            self.acknowledged,
            self.lost,
            self.duplicates,
            self.order_differences,
            strikes,
            self.kills()
        )?;
        if let Some(settled) = self.settled_s {
            write!(f, "; at rest {settled:.1} s after the last")?;
        }
        for broken in &self.broken {
            write!(f, "\n  BROKEN {broken}")?;
        }
        Ok(())
    }
}

fn lost(history: &History) -> u64 {
    let logs = history.conversations.iter().flat_map(|one| &one.log);
    let stored: HashSet<_> = logs.filter_map(|row| history.sent(row.content)).collect();
    let sends = history.sends.iter().enumerate();
    let lost = sends.filter(|(number, send)| {
        send.answered.is_some() && !stored.contains(&SendIx::from(*number))
    });
    lost.count() as u64
}

fn duplicates(history: &History) -> u64 {
    let mut seen = HashSet::new();
    let mut again = 0;
    for conversation in &history.conversations {
        seen.clear();
        for sighting in &conversation.sightings {
            if let Content::Message { send, .. } = history.content(sighting.content)
                && sighting.place != Place::Wire
                && !seen.insert((send, sighting.client, sighting.place))
            {
                again += 1;
            }
        }
    }
    again
}

fn order_differences(history: &History) -> u64 {
    let mut different = 0;
    for conversation in &history.conversations {
        let log = conversation.log.iter();
        let log: HashMap<_, _> = log.map(|row| (row.seq, row.content)).collect();
        let sightings = conversation.sightings.iter();
        different += sightings
            .filter(|seen| log.get(&seen.seq) != Some(&seen.content))
            .count();
    }
    different as u64
}

fn again(history: &History, struck: &[Struck]) -> Vec<Again> {
    let mut shown = vec![None; history.sends.len()];
    for sighting in history.conversations.iter().flat_map(|one| &one.sightings) {
        if sighting.place == Place::View
            && let Some(send) = history.sent(sighting.content)
        {
            let first = shown[send.index()].get_or_insert(sighting.t);
            *first = sighting.t.min(*first);
        }
    }
    let sends = || history.sends.iter().zip(&shown);
    let acknowledged = First::of(sends().map(|(send, _)| (send.invoked, send.answered)));
    let stored = First::of(sends().map(|(send, shown)| (send.invoked, *shown)));
    let strikes = struck.iter();
    strikes
        .map(|Struck { strike, let_go }| Again {
            component: strike.target.component(),
            fault: strike.fault,
            acknowledged_ms: acknowledged.after(*let_go),
            stored_ms: stored.after(*let_go),
        })
        .collect()
}

/// The earliest success of all that began at a time or later, by that time.
struct First(Vec<(u64, u64)>);

impl First {
    fn of(sends: impl Iterator<Item = (Option<u64>, Option<u64>)>) -> Self {
        let mut sends: Vec<_> = sends.filter_map(|(begun, done)| begun.zip(done)).collect();
        sends.sort_unstable();
        let mut earliest = u64::MAX;
        for (_, done) in sends.iter_mut().rev() {
            earliest = earliest.min(*done);
            *done = earliest;
        }
        Self(sends)
    }

    /// Milliseconds from `t` to the first success.
    fn after(&self, t: u64) -> Option<u64> {
        let later = self.0.partition_point(|(begun, _)| *begun < t);
        self.0.get(later).map(|(_, done)| (done - t) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::{First, Outcome};

    #[test]
    fn a_run_that_lost_repeated_or_mixed_up_anything_is_not_clean() {
        let broken: [fn(&mut Outcome); 4] = [
            |run| run.lost = 1,
            |run| run.duplicates = 1,
            |run| run.order_differences = 1,
            |run| run.broken.push("a promise".to_owned()),
        ];
        assert!(Outcome::default().is_clean());
        for breaks in broken {
            let mut run = Outcome::default();
            breaks(&mut run);
            assert!(!run.is_clean(), "{run}");
        }
    }

    #[test]
    fn the_first_success_counts_only_what_began_afterwards() {
        let sends = [(1_000, 90_000), (20_000, 60_000), (30_000, 40_000)];
        let first = First::of(
            sends
                .into_iter()
                .map(|(begun, done)| (Some(begun), Some(done))),
        );
        assert_eq!(first.after(500), Some(39));
        assert_eq!(first.after(25_000), Some(15));
        assert_eq!(first.after(30_001), None);
    }
}
