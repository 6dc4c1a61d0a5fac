//! I17: whoever is named anywhere has an account, and every service that keeps
//! accounts knows the same ones.

use std::collections::HashSet;

use super::{Verdict, broken};
use crate::history::{Content, History, UserIx};

pub fn check(history: &History) -> Verdict {
    let accounts = &history.finals.accounts;
    let all: HashSet<UserIx> = accounts.values().flatten().copied().collect();
    for (service, known) in accounts {
        if let Some(missing) = all.difference(known).next() {
            broken!(
                "user {} has an account, but {service} does not know it",
                history.user(*missing)
            );
        }
    }
    if accounts.is_empty() {
        return Ok(0);
    }
    for conversation in &history.conversations {
        let authors = conversation.log.iter().map(|row| {
            let (Content::Message { by, .. } | Content::Read { by, .. }) =
                history.content(row.content);
            by
        });
        let receivers = conversation.notices.iter().map(|(user, _)| *user);
        let listed = conversation.listed.iter().copied();
        let mut named = listed.chain(authors).chain(receivers);
        if let Some(nobody) = named.find(|user| !all.contains(user)) {
            broken!(
                "{} names user {}, who has no account",
                conversation.id,
                history.user(nobody)
            );
        }
    }
    Ok(all.len() as u64)
}
