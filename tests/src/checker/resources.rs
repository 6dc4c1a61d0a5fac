//! I20: what pods hold goes back to where it was. A sample is held against the
//! first one of the same thing.

use std::collections::HashMap;

use super::{Verdict, broken};
use crate::history::{At, History, Resource};

/// Connections come and go by ones: a tenth of ten would be none.
const SLACK: i64 = 3;

pub fn check(history: &History) -> Verdict {
    let mut first: HashMap<&str, &Resource> = HashMap::new();
    let mut facts = 0;
    for sample in &history.finals.resources {
        let base = *first.entry(&sample.of).or_insert(sample);
        let bound = base.count + SLACK.max(base.count / 10);
        if sample.count > bound {
            broken!(
                "the {} were {} at {}, and are {} at {}",
                sample.of,
                base.count,
                At(base.t),
                sample.count,
                At(sample.t)
            );
        }
        facts += u64::from(sample.t > base.t);
    }
    Ok(facts)
}
