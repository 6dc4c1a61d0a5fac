//! Which component is struck when, how and for how long: a pure function of a seed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::{Fault, Strike, Target};

/// In milliseconds: the load begins undisturbed, and the last strike ends before it does.
const CALM: u64 = 3_000;
/// Between the end of a strike and the next one.
const GAP: std::ops::Range<u64> = 3_000..12_000;
/// One in so many silences is longer than the heartbeats of the broker.
const LONG: u32 = 8;
/// Of the strikes at a server, one in so many leaves its process alone.
const BESIDE: u32 = 2;

/// The strikes of a run of `length`, in the order of time. All components are struck
/// once, in any order, before one is struck again. In one seed of four the strikes
/// come in pairs that overlap; in the others each ends before the next begins.
pub fn schedule(seed: u64, length: Duration, replicas: usize) -> Vec<Strike> {
    let mut rng = StdRng::seed_from_u64(seed);
    let in_pairs = seed.is_multiple_of(4);
    let end = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let mut deck = Deck::of(replicas);
    let mut strikes = Vec::new();
    let mut t = CALM;
    loop {
        let first = strike(&mut rng, t, &mut deck);
        let second = in_pairs.then(|| {
            let at = rng.random_range(first.at_ms..first.end_ms());
            strike(&mut rng, at, &mut deck)
        });
        let both = [Some(first), second];
        let over = both.into_iter().flatten().map(|strike| strike.end_ms());
        let over = over.max().unwrap_or(t);
        if over + CALM > end {
            return strikes;
        }
        strikes.extend(both.into_iter().flatten());
        t = over + rng.random_range(GAP);
    }
}

fn strike(rng: &mut StdRng, at_ms: u64, deck: &mut Deck) -> Strike {
    let target = deck.next(rng);
    let beside = Fault::beside(target);
    let fault = if !beside.is_empty() && rng.random_ratio(1, BESIDE) {
        beside[rng.random_range(0..beside.len())]
    } else {
        match rng.random_range(0..10) {
            0..6 => Fault::Kill,
            6..8 => Fault::Freeze,
            _ => Fault::Restart,
        }
    };
    let length = match fault {
        Fault::Kill => 200..4_000,
        Fault::Restart => 100..2_000,
        Fault::Freeze | Fault::Deaf | Fault::Mute if rng.random_ratio(1, LONG) => 12_000..20_000,
        _ => 500..8_000,
    };
    Strike {
        at_ms,
        fault,
        target,
        length_ms: rng.random_range(length),
    }
}

/// All targets in any order, and then again.
struct Deck {
    all: Vec<Target>,
    left: Vec<Target>,
    last: Option<Target>,
}

impl Deck {
    fn of(replicas: usize) -> Self {
        Self {
            all: Target::all(replicas),
            left: Vec::new(),
            last: None,
        }
    }

    /// Never the same twice in a row: those two could overlap.
    fn next(&mut self, rng: &mut StdRng) -> Target {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            self.left.shuffle(rng);
            if self.left.last() == self.last.as_ref() {
                self.left.reverse();
            }
        }
        self.last = self.left.pop();
        // There are servers, whatever the number of pods.
        self.last.unwrap_or(Target::Nginx)
    }
}

/// JSON lines, for [`read`] and for people.
pub fn write(file: &Path, strikes: &[Strike]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for strike in strikes {
        lines.push_str(&serde_json::to_string(strike)?);
        lines.push('\n');
    }
    fs::write(file, lines).with_context(|| file.display().to_string())
}

/// A schedule that was written, or made by hand, in the order of time.
pub fn read(file: &Path) -> anyhow::Result<Vec<Strike>> {
    let lines = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut strikes = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Strike>, _>>()
        .with_context(|| file.display().to_string())?;
    strikes.sort_by_key(|strike| strike.at_ms);
    Ok(strikes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{CALM, read, schedule, write};
    use crate::nemesis::{Fault, Target};

    /// So long that each component has its turn.
    const LENGTH: Duration = Duration::from_secs(300);

    fn overlaps(seed: u64) -> usize {
        schedule(seed, LENGTH, 2)
            .windows(2)
            .filter(|pair| pair[1].at_ms < pair[0].end_ms())
            .count()
    }

    proptest! {
        #[test]
        fn the_same_seed_gives_the_same_schedule(seed: u64, seconds in 0_u64..900, replicas in 1_usize..4) {
            let length = Duration::from_secs(seconds);
            prop_assert_eq!(schedule(seed, length, replicas), schedule(seed, length, replicas));
        }

        #[test]
        fn nothing_is_struck_before_the_load_or_left_struck_after_it(seed: u64, seconds in 0_u64..900) {
            let strikes = schedule(seed, Duration::from_secs(seconds), 2);
            for strike in &strikes {
                prop_assert!(strike.at_ms >= CALM);
                prop_assert!(strike.end_ms() + CALM <= seconds * 1000);
            }
            prop_assert!(strikes.is_sorted_by_key(|strike| strike.at_ms));
        }

        #[test]
        fn every_component_is_struck_in_five_minutes_of_any_seed(seed: u64, replicas in 1_usize..3) {
            let struck: BTreeSet<_> = schedule(seed, LENGTH, replicas)
                .iter()
                .map(|strike| strike.target)
                .collect();
            prop_assert_eq!(struck, BTreeSet::from_iter(Target::all(replicas)));
        }

        #[test]
        fn no_component_is_struck_while_it_is_struck(seed: u64) {
            let strikes = schedule(seed, LENGTH, 2);
            for pair in strikes.windows(2) {
                prop_assert!(pair[0].target != pair[1].target || pair[0].end_ms() < pair[1].at_ms);
            }
        }
    }

    #[test]
    fn strikes_overlap_in_one_seed_of_four() {
        for seed in 0..40 {
            let strikes = schedule(seed, LENGTH, 2).len();
            let expected = if seed % 4 == 0 { strikes / 2 } else { 0 };
            assert_eq!(overlaps(seed), expected, "seed {seed}");
        }
    }

    #[test]
    fn every_component_meets_every_fault_in_some_seed() {
        let met: BTreeSet<_> = (0..200)
            .flat_map(|seed| schedule(seed, LENGTH, 2))
            .map(|strike| (strike.target, strike.fault))
            .collect();
        for target in Target::all(2) {
            for fault in Fault::OF_PROCESSES.iter().chain(Fault::beside(target)) {
                assert!(met.contains(&(target, *fault)), "{target} {fault:?}");
            }
        }
    }

    #[test]
    fn a_schedule_that_was_written_is_read_back() -> anyhow::Result<()> {
        let file = std::env::temp_dir().join(format!("schedule-{}.jsonl", uuid::Uuid::new_v4()));
        let strikes = schedule(4, LENGTH, 2);
        write(&file, &strikes)?;
        let back = read(&file)?;
        std::fs::remove_file(&file)?;
        assert_eq!(back, strikes);
        Ok(())
    }
}
