//! I18: the dead letters are the bodies that were planted, each once, and no other.

use super::{Verdict, broken};
use crate::history::History;

pub fn check(history: &History) -> Verdict {
    let Some(count) = history.finals.dead_letter_count else {
        return Ok(0);
    };
    let (planted, found) = (&history.poison, &history.finals.dead_letters);
    for ((queue, hash), times) in planted {
        let letters = found
            .get(&(queue.clone(), *hash))
            .copied()
            .unwrap_or_default();
        if letters != *times {
            broken!(
                "body {hash} was put into {queue} {times} times, and is dead there {letters} times"
            );
        }
    }
    if let Some((queue, hash)) = found.keys().find(|key| !planted.contains_key(*key)) {
        broken!("body {hash} is a dead letter of {queue}, and nobody planted it");
    }
    let letters: i64 = found.values().sum();
    if letters != count {
        broken!("{count} dead letters were counted, and {letters} were read");
    }
    // That there are none is a fact as well.
    Ok(1 + letters as u64)
}
