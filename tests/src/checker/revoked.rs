//! I19: an answered sign-out closes the sockets of the session within 2 s (within
//! 30 s while something is broken), and nothing is taken from it afterwards. A live
//! session has one refresh token that is good.

use super::{Verdict, broken};
use crate::history::{At, Client, History};

const BOUND: u64 = 2_000_000;
const BROKEN: u64 = 30_000_000;

pub fn check(history: &History) -> Verdict {
    let mut facts = leaves(history)?;
    for (index, client) in history.clients.iter().enumerate() {
        let Some(revoked) = client.revoked else {
            continue;
        };
        facts += 1;
        let bound = if history.faulty(revoked, revoked + BOUND) {
            BROKEN
        } else {
            BOUND
        };
        let end = revoked + bound;
        let who = history.name(index.into());
        sockets(history, client, &who, end)?;
        let late = history.sends.iter().find(|send| {
            send.client == index.into() && send.invoked > Some(end) && send.answered.is_some()
        });
        if let Some(send) = late {
            broken!(
                "{who} signed out at {}, and its send {} was acknowledged at {}",
                At(revoked),
                send.client_id,
                At(send.answered.unwrap_or_default())
            );
        }
        for conversation in &history.conversations {
            let mut sightings = conversation.sightings.iter();
            let late =
                sightings.find(|sighting| sighting.client == index.into() && sighting.t > end);
            if let Some(late) = late {
                broken!(
                    "{who} signed out at {}, and saw number {} of {} at {}",
                    At(revoked),
                    late.seq,
                    conversation.id,
                    At(late.t)
                );
            }
        }
    }
    Ok(facts)
}

fn sockets(history: &History, client: &Client, who: &str, end: u64) -> Verdict {
    for connection in &client.connections {
        let number = connection.number;
        let Some(opened) = connection.opened else {
            continue;
        };
        if opened > end {
            broken!(
                "{who} signed out, had to be refused from {}, and got connection {number} at {}",
                At(end),
                At(opened)
            );
        }
        if connection.closed.is_none_or(|closed| closed > end) && history.end > end {
            broken!(
                "{who} signed out, and its connection {number} was open after {}",
                At(end)
            );
        }
    }
    Ok(client.connections.len() as u64)
}

fn leaves(history: &History) -> Verdict {
    let leaves = &history.finals.leaves;
    if let Some((user, count)) = leaves.iter().find(|(_, count)| *count > 1) {
        broken!(
            "a session of user {} has {count} refresh tokens that are good",
            history.user(*user)
        );
    }
    Ok(leaves.len() as u64)
}
