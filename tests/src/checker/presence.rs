//! I12: who is said to be online is who has an open socket, 45 s after the last
//! change at most; and each change is told once.

use std::collections::HashMap;
use std::time::Duration;

use super::{Verdict, broken};
use crate::history::{At, ClientIx, History, RECOVERY, UserIx};

const BOUND: u64 = 45_000_000;
/// Whoever asks so long after the last change and the last fault is judged; two seconds
/// of it are for the way.
pub const SETTLED: Duration = Duration::from_micros(BOUND + RECOVERY + 2_000_000);

pub fn check(history: &History) -> Verdict {
    let changes = changes(history);
    Ok(ends(history, &changes)? + told(history, &changes)?)
}

/// When each user came and went: the first socket, and the last one.
fn changes(history: &History) -> HashMap<UserIx, Vec<(u64, bool)>> {
    let mut sockets: HashMap<UserIx, Vec<(u64, i32)>> = HashMap::new();
    for client in &history.clients {
        let Some(user) = client.user else { continue };
        let sockets = sockets.entry(user).or_default();
        for connection in &client.connections {
            if connection.opened.is_none() {
                continue;
            }
            // Others may hear of a socket before its own client has the first frame.
            sockets.push((connection.asked, 1));
            sockets.extend(connection.closed.map(|closed| (closed, -1)));
        }
    }
    let fold = |mut sockets: Vec<(u64, i32)>| {
        // A socket that opens when another one closes keeps the user online.
        sockets.sort_by_key(|(t, change)| (*t, -change));
        let mut open = 0;
        let mut changes = Vec::new();
        for (t, change) in sockets {
            let before = open > 0;
            open += change;
            if before != (open > 0) {
                changes.push((t, open > 0));
            }
        }
        changes
    };
    let users = sockets.into_iter();
    users.map(|(user, sockets)| (user, fold(sockets))).collect()
}

fn ends(history: &History, changes: &HashMap<UserIx, Vec<(u64, bool)>>) -> Verdict {
    let mut facts = 0;
    for said in &history.finals.presence {
        let Some(changes) = changes.get(&said.user) else {
            continue;
        };
        let last = changes.iter().rfind(|(t, _)| *t <= said.t);
        let (since, online) = last.copied().unwrap_or_default();
        let settled = said.t.saturating_sub(BOUND);
        if since > settled || history.faulty(settled, said.t) {
            continue;
        }
        facts += 1;
        if said.online != online {
            broken!(
                "user {} is said to be {} at {}, and has been {} since {}",
                history.user(said.user),
                word(said.online),
                At(said.t),
                word(online),
                At(since)
            );
        }
    }
    Ok(facts)
}

/// One listening connection must not tell more changes than there were.
fn told(history: &History, changes: &HashMap<UserIx, Vec<(u64, bool)>>) -> Verdict {
    let mut ears: HashMap<(ClientIx, u32, UserIx), Vec<(u64, bool)>> = HashMap::new();
    for presence in &history.presence {
        let key = (presence.client, presence.conn, presence.user);
        let told = ears.entry(key).or_default();
        if told
            .last()
            .is_none_or(|(_, online)| *online != presence.online)
        {
            told.push((presence.t, presence.online));
        }
    }
    for ((client, conn, user), told) in &ears {
        let Some(changes) = changes.get(user) else {
            continue;
        };
        let connections = &history.client(*client).connections;
        let opened = connections
            .iter()
            .find(|known| known.number == *conn)
            .and_then(|known| known.opened);
        let from = opened.unwrap_or_default().saturating_sub(BOUND);
        let (last, _) = told.last().copied().unwrap_or_default();
        let real = changes
            .iter()
            .filter(|(t, _)| (from..=last).contains(t))
            .count();
        if told.len() > real {
            broken!(
                "connection {conn} of {} was told of {} changes of user {} until {}, and there were {real}",
                history.name(*client),
                told.len(),
                history.user(*user),
                At(last)
            );
        }
    }
    Ok(ears.len() as u64)
}

const fn word(online: bool) -> &'static str {
    if online { "online" } else { "offline" }
}
