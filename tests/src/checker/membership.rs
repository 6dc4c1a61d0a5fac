//! I8: nobody but a member hears or is shown anything of a conversation, and from
//! one second after an answered removal nothing more.

use std::collections::HashMap;

use super::{Verdict, broken};
use crate::history::{At, Conversation, History, Membership, UserIx};

const BOUND: u64 = 1_000_000;

pub fn check(history: &History) -> Verdict {
    let mut facts = 0;
    for conversation in &history.conversations {
        if !conversation.memberships.is_empty() {
            facts += watch(history, conversation)?;
        }
    }
    Ok(facts)
}

fn watch(history: &History, conversation: &Conversation) -> Verdict {
    let mut changes: HashMap<UserIx, Vec<&Membership>> = HashMap::new();
    for membership in &conversation.memberships {
        changes.entry(membership.user).or_default().push(membership);
    }
    let sightings = conversation.sightings.iter();
    let seen = sightings.map(|sighting| (sighting.t, sighting.client, "entry", sighting.seq));
    let standings = conversation.standings.iter();
    let heard = standings.map(|standing| (standing.t, standing.client, "position", standing.seq));
    let mut facts = 0;
    for (t, client, what, seq) in seen.chain(heard) {
        let Some(user) = history.client(client).user else {
            continue;
        };
        facts += 1;
        let Some(changes) = changes.get(&user) else {
            broken!(
                "{} saw {what} {seq} of {} at {}, and was never a member",
                history.name(client),
                conversation.id,
                At(t)
            );
        };
        // Who joins may see something before the answer, but never before a change
        // that took effect.
        let last = changes.iter().rfind(|change| change.t <= t);
        if let Some(left) = last.filter(|change| !change.joined && change.t + BOUND < t) {
            broken!(
                "{} saw {what} {seq} of {} at {}, and was removed at {}",
                history.name(client),
                conversation.id,
                At(t),
                At(left.t)
            );
        }
    }
    Ok(facts)
}
