//! What is compared.

use std::collections::BTreeMap;

use chat_events::{ClientId, ConversationId, LogEvent, UserId};
use tokio::time::Instant;

use crate::client::state::{State, TYPING};

/// What a client knows, without what no server tells and without hints, which
/// have passed by the time at which it is looked at.
#[derive(Debug, PartialEq)]
pub struct Snapshot {
    pub user_id: Option<UserId>,
    pub epoch: Option<String>,
    /// Entries that are shown, and how far the log is said to go.
    pub logs: BTreeMap<ConversationId, (Vec<LogEvent>, Option<i64>)>,
    /// What waits, and whether the broker has it.
    pub outbox: Vec<(ClientId, bool)>,
    pub refused: BTreeMap<ClientId, u16>,
    pub typing: usize,
    pub violations: Vec<String>,
}

pub fn snapshot(mut state: State) -> Snapshot {
    state.end_typing(Instant::now() + TYPING);
    let violations = state.violations();
    let State {
        logs,
        outbox,
        accepted,
        refused,
        typing,
        epoch,
        user_id,
        // What this device wants, did and lived through.
        reads: _,
        typed: _,
        offline: _,
        connected: _,
        connections: _,
        gaps: _,
        errors: _,
        signed_out: _,
        process: _,
    } = state;
    let log = |(id, log): (ConversationId, crate::Log)| {
        let hole = log.hole();
        (id, (log.events().cloned().collect(), hole))
    };
    Snapshot {
        user_id,
        epoch,
        logs: logs.into_iter().map(log).collect(),
        outbox: outbox
            .iter()
            .map(|waiting| (waiting.client_id, accepted.contains(&waiting.client_id)))
            .collect(),
        refused: refused
            .into_iter()
            .map(|(id, code)| (id, code.status()))
            .collect(),
        typing: typing.len(),
        violations,
    }
}
