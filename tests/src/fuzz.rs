//! Hostile input: what is valid with random changes, and every input that once
//! did harm. The services' own tests bring the target; see `docs/reliability.md`.
//!
//! `FUZZ_SECONDS` says for how long (2 by default), `FUZZ_SEED` repeats a run.

mod change;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{
    Config, RngAlgorithm, TestCaseError, TestCaseResult, TestError, TestRng, TestRunner,
};

use change::Change;

const SECONDS: u64 = 2;
/// Inputs between two looks at the clock.
const ROUND: u32 = 256;
/// Changes to one input.
const CHANGES: usize = 4;

/// Holds `property` against the corpus and then, until the time is over, against
/// changed versions of it and of what `valid` makes.
///
/// # Panics
/// With the smallest input found that breaks the property, and how to repeat it.
pub fn fuzz(
    target: &str,
    valid: impl Strategy<Value = Vec<u8>> + 'static,
    property: impl Fn(&[u8]) -> TestCaseResult,
) {
    let corpus = corpus(target);
    for (name, input) in read(&corpus) {
        if let Err(error) = property(&input) {
            panic!("{}: {error}", corpus.join(name).display());
        }
    }
    let inputs = hostile(target, valid);
    let Budget { end, first } = Budget::new();
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < end {
        let seed = first.wrapping_add(rounds);
        rounds += 1;
        match runner(seed).run(&inputs, |input| property(&input)) {
            Ok(()) => {}
            Err(TestError::Fail(reason, input)) => panic!(
                "{reason}\nAgain with FUZZ_SEED={seed}: {:?}\nKeep it in {}",
                String::from_utf8_lossy(&input),
                corpus.display()
            ),
            Err(TestError::Abort(reason)) => panic!("FUZZ_SEED={seed}: {reason}"),
        }
    }
    let count = rounds * u64::from(ROUND);
    eprintln!("{target}: {count} inputs, from FUZZ_SEED={first} on");
}

/// Inputs for a target that answers later: first the corpus, then changed versions
/// of it and of what `valid` makes, until the time is over.
///
/// # Panics
/// Without a corpus.
pub fn inputs(
    target: &str,
    valid: impl Strategy<Value = Vec<u8>> + 'static,
) -> impl Iterator<Item = Vec<u8>> {
    let Budget { end, first } = Budget::new();
    eprintln!("{target}: FUZZ_SEED={first}");
    let strategy = hostile(target, valid);
    let mut runner = runner(first);
    let changed = std::iter::from_fn(move || {
        let tree = strategy.new_tree(&mut runner).ok()?;
        (Instant::now() < end).then(|| tree.current())
    });
    let known = read(&corpus(target)).into_iter().map(|(_, input)| input);
    known.chain(changed)
}

fn hostile(
    target: &str,
    valid: impl Strategy<Value = Vec<u8>> + 'static,
) -> BoxedStrategy<Vec<u8>> {
    let known = read(&corpus(target));
    let known: Vec<_> = known.into_iter().map(|(_, input)| input).collect();
    let start = if known.is_empty() {
        valid.boxed()
    } else {
        prop_oneof![4 => valid, 1 => prop::sample::select(known)].boxed()
    };
    let changes = prop::collection::vec(change::any(), 0..=CHANGES);
    let apply = |(input, changes): (Vec<u8>, Vec<Change>)| {
        changes
            .iter()
            .fold(input, |input, change| change.of(&input))
    };
    (start, changes).prop_map(apply).boxed()
}

struct Budget {
    end: Instant,
    first: u64,
}

impl Budget {
    fn new() -> Self {
        let setting = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let seconds = setting("FUZZ_SECONDS").unwrap_or(SECONDS);
        Self {
            end: Instant::now() + Duration::from_secs(seconds),
            first: setting("FUZZ_SEED").unwrap_or_else(rand::random),
        }
    }
}

fn runner(seed: u64) -> TestRunner {
    let config = Config {
        cases: ROUND,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// The folder of a target's inputs: borderline ones, and those that did harm once.
fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// The files of the folder, by name.
fn read(corpus: &Path) -> Vec<(String, Vec<u8>)> {
    let Ok(files) = std::fs::read_dir(corpus) else {
        panic!("no corpus in {}", corpus.display());
    };
    let mut inputs: Vec<_> = files
        .flatten()
        .filter_map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            Some((name, std::fs::read(file.path()).ok()?))
        })
        .collect();
    inputs.sort();
    inputs
}

/// Fails the case unless it is so.
///
/// # Errors
/// With `what`.
pub fn must(is_so: bool, what: impl FnOnce() -> String) -> TestCaseResult {
    if is_so {
        Ok(())
    } else {
        Err(TestCaseError::fail(what()))
    }
}
