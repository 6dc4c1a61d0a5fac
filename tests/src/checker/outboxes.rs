//! I15: in the end no event has waited in an outbox for longer than ten seconds.
//! There are no inbox tables: consumers know an event by what it did, and I3, I10
//! and I16 would see it done twice.

use super::{Verdict, broken};
use crate::history::History;

pub fn check(history: &History) -> Verdict {
    for (service, waiting) in &history.finals.outboxes {
        if *waiting > 0 {
            broken!("{waiting} events have been in the outbox of {service} for more than 10 s");
        }
    }
    Ok(history.finals.outboxes.len() as u64)
}
