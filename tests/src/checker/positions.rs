//! I21: in the end, every client and every page stands where the log ends.

use super::{Verdict, broken};
use crate::history::{History, Source, Via};

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
    if !history.is_closed() {
        return Ok(facts);
    }
    for conversation in &history.conversations {
        let last = conversation.last_seq().unwrap_or_default();
        for standing in &conversation.standings {
            let Source::Final(via @ (Via::Rest | Via::View)) = standing.source else {
                continue;
            };
            if standing.seq != last {
                broken!(
                    "{} ends at number {} of {} ({via:?}); the log ends at {last}",
                    history.name(standing.client),
                    standing.seq,
                    conversation.id
                );
            }
            facts += 1;
        }
    }
    Ok(facts)
}
