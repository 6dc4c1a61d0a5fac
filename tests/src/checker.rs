//! Judges a [`History`]: each promise is one function, and what breaks it is told
//! in words. Nothing here searches: the servers number every log, so a promise is
//! a comparison, and a million operations take seconds.

mod accounts;
mod acked_loss;
mod caches;
mod dead_letters;
mod holes;
mod membership;
mod notices;
mod order;
mod outboxes;
mod phantom;
mod planted;
mod positions;
mod presence;
mod real_time;
mod receipts;
mod repeats;
mod resources;
mod revoked;
mod session;
mod typing;
mod unread;

use std::fmt;

pub use planted::{PLANTED, Planted, Plot};
pub use presence::SETTLED as PRESENCE_SETTLED;
pub use repeats::on_the_wire as repeats_on_the_wire;

use crate::history::History;

/// How many facts were held against the promise; 0 says nothing about it.
pub type Verdict = Result<u64, Broken>;

/// A counter-example, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

/// `Err(Broken(format!(…)))`
macro_rules! broken {
    ($($words:tt)*) => {
        return Err($crate::checker::Broken(format!($($words)*)))
    };
}
use broken;

pub struct Invariant {
    pub name: &'static str,
    pub says: &'static str,
    pub check: fn(&History) -> Verdict,
}

macro_rules! invariant {
    ($name:literal, $check:path, $says:literal) => {
        Invariant {
            name: $name,
            says: $says,
            check: $check,
        }
    };
}

/// Those whose feature exists; `docs/reliability.md` says which come later.
pub const INVARIANTS: [Invariant; 20] = [
    invariant!("I1", acked_loss::check, "nothing acknowledged is lost"),
    invariant!("I2", phantom::check, "nothing is seen that was not sent"),
    invariant!("I3", repeats::check, "nothing is stored or shown twice"),
    invariant!("I4", order::check, "one number, one entry, for everybody"),
    invariant!("I5", holes::check, "numbers go from 1 without a hole"),
    invariant!(
        "I6",
        real_time::check,
        "what was answered before comes before"
    ),
    invariant!("I7", session::check, "nobody is taken back in time"),
    invariant!("I8", membership::check, "only members see anything"),
    invariant!(
        "I10",
        receipts::check,
        "read marks rise and stand on the log"
    ),
    invariant!("I11", unread::check, "unread is what a recount gives"),
    invariant!("I12", presence::check, "online is who has an open socket"),
    invariant!(
        "I13",
        typing::check,
        "typing ends by itself, and is not stored"
    ),
    invariant!("I14", caches::check, "a cached page is what the log gives"),
    invariant!("I15", outboxes::check, "no event waits in an outbox"),
    invariant!(
        "I16",
        notices::check,
        "one notice for each message and receiver"
    ),
    invariant!("I17", accounts::check, "no account is half made"),
    invariant!(
        "I18",
        dead_letters::check,
        "dead letters are the planted ones"
    ),
    invariant!(
        "I19",
        revoked::check,
        "an ended session hears and says nothing"
    ),
    invariant!("I20", resources::check, "what was taken is given back"),
    invariant!("I21", positions::check, "everybody ends where the log ends"),
];

/// Every verdict, in the order of the table.
pub fn check(history: &History) -> Vec<(&'static Invariant, Verdict)> {
    INVARIANTS
        .iter()
        .map(|invariant| (invariant, (invariant.check)(history)))
        .collect()
}

/// The broken promises, for tests: empty is good.
pub fn alarms(history: &History) -> Vec<String> {
    check(history)
        .into_iter()
        .filter_map(|(invariant, verdict)| {
            let Broken(words) = verdict.err()?;
            Some(format!("{}: {words}", invariant.name))
        })
        .collect()
}

/// The verdicts, for people.
pub struct Table<'a> {
    pub history: &'a History,
    pub verdicts: &'a [(&'static Invariant, Verdict)],
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let history = self.history;
        writeln!(
            f,
            "{} records, {} operations, {} clients, {} conversations, {} frames came again",
            history.records,
            history.operations,
            history.clients.len(),
            history.conversations.len(),
            repeats::on_the_wire(history)
        )?;
        for (Invariant { name, says, .. }, verdict) in self.verdicts {
            match verdict {
                Ok(0) => writeln!(f, "{name:4} nothing   {says}")?,
                Ok(facts) => writeln!(f, "{name:4} holds     {says}: {facts} facts")?,
                Err(Broken(words)) => writeln!(f, "{name:4} BROKEN    {says}: {words}")?,
            }
        }
        Ok(())
    }
}
