//! What the operator asked for, by the audit log. Pure.

use std::collections::BTreeMap;

use chat_kube::audit::Call;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Whether a call was about an object that was made for this chat.
pub fn is_of_child(call: &Call, chat: &str) -> bool {
    let name = call.name.strip_prefix(chat);
    name.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        && !call.resource.starts_with("chatclusters")
        && call.resource != "events"
}

pub fn makes_child_of(call: &Call, chat: &str) -> bool {
    is_of_child(call, chat) && call.verb == "patch" && call.code == 201
}

pub fn writes_child_of(call: &Call, chat: &str) -> bool {
    is_of_child(call, chat) && call.is_write() && call.code < 300
}

/// When the operator first said how this chat is: its first pass was over then.
pub fn first_status(calls: &[Call], chat: &str) -> Timestamp {
    let status = calls
        .iter()
        .filter(|call| call.resource == "chatclusters/status" && call.name == chat)
        .map(|call| call.asked);
    status.min().unwrap_or(Timestamp::MAX)
}

/// How often each kind of call was made.
pub fn by_kind(calls: &[Call]) -> Value {
    json!(counts(calls))
}

/// The same in words, for each of so many chats.
pub fn kinds(calls: &[Call], chats: usize) -> String {
    let counts = counts(calls);
    let chats = u32::try_from(chats).map_or(1.0, f64::from);
    let each = counts.iter().map(|(kind, count)| {
        let count = u32::try_from(*count).map_or(0.0, f64::from);
        format!("{:.1} {kind}", count / chats)
    });
    each.collect::<Vec<_>>().join(", ")
}

fn counts(calls: &[Call]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(kind(call)).or_default() += 1;
    }
    counts
}

fn kind(call: &Call) -> &'static str {
    match (call.resource.as_str(), call.verb.as_str(), call.code) {
        (_, "get", 404) => "reads of what is not there",
        (_, "get" | "list", _) => "reads",
        ("events", _, _) => "events",
        ("chatclusters/status", _, _) => "statuses",
        (_, "patch", 201) => "applies that make",
        (_, "patch", 200) => "applies that change",
        (_, "patch", 409) => "applies of what was there",
        (_, "delete", _) => "deletes",
        _ => "others",
    }
}

/// Calls that failed on the side of the server, or were refused.
pub fn errors(calls: &[Call]) -> usize {
    let failed = |call: &&Call| call.code >= 400 && !matches!(call.code, 404 | 409);
    calls.iter().filter(failed).count()
}
