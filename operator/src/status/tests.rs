use std::time::Duration;

use super::testing::{healthy, problem};
use super::*;
use crate::crd::ChatClusterSpec;

fn chat(status: Option<ChatClusterStatus>) -> ChatCluster {
    let spec: ChatClusterSpec = serde_json::from_value(json!({"host": "chat.example.com"}))
        .unwrap_or_else(|error| panic!("{error}"));
    let mut chat = ChatCluster::new("demo", spec);
    chat.metadata.generation = Some(3);
    chat.status = status;
    chat
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

fn named<'a>(status: &'a ChatClusterStatus, kind: &str) -> &'a Condition {
    let found = status.conditions.iter().find(|it| it.type_ == kind);
    found.unwrap_or_else(|| panic!("no condition {kind}"))
}

#[test]
fn every_condition_is_complete() {
    let status = compute(&chat(None), &healthy(), at(1));
    let kinds: Vec<_> = status
        .conditions
        .iter()
        .map(|it| it.type_.as_str())
        .collect();
    assert_eq!(kinds, CONDITIONS.map(|(kind, _)| kind));
    for condition in &status.conditions {
        assert!(!condition.reason.is_empty() && !condition.message.is_empty());
        assert_eq!(condition.observed_generation, Some(3));
    }
    assert_eq!(status.ready, "6/6");
    assert_eq!(status.reason, "Ready");
    assert_eq!(status.version, "1.0.0");
    assert_eq!(status.target_version, None);
}

#[test]
fn the_same_observation_gives_the_same_status_later() {
    let first = compute(&chat(None), &healthy(), at(1));
    let second = compute(&chat(Some(first.clone())), &healthy(), at(99));
    assert_eq!(first, second);
}

#[test]
fn the_time_of_a_transition_changes_with_the_status_alone() {
    let first = compute(&chat(None), &healthy(), at(1));
    let mut seen = healthy();
    seen.components[0].settled = false;
    let second = compute(&chat(Some(first)), &seen, at(2));
    assert_eq!(named(&second, "Ready").last_transition_time.0, at(2));
    assert_eq!(named(&second, "Exposed").last_transition_time.0, at(1));
    seen.stores[0].ready = false;
    let third = compute(&chat(Some(second)), &seen, at(3));
    assert_eq!(named(&third, "Ready").reason, "PostgresNotReady");
    assert_eq!(named(&third, "Ready").last_transition_time.0, at(2));
}

#[test]
fn an_invalid_spec_is_observed_and_what_runs_stays_described() {
    let before = compute(&chat(None), &healthy(), at(1));
    let invalid = Observation {
        problem: Some(problem("SecretMissing")),
        ..Observation::default()
    };
    let mut edited = chat(Some(before.clone()));
    edited.metadata.generation = Some(4);
    let after = compute(&edited, &invalid, at(2));
    assert_eq!(after.observed_generation, Some(4));
    assert_eq!(after.components, before.components);
    assert_eq!(after.version, before.version);
    assert_eq!(after.reason, "SecretMissing");
}

#[test]
fn a_new_version_is_the_target_until_all_of_it_runs() {
    let before = compute(&chat(None), &healthy(), at(1));
    let mut seen = healthy();
    seen.version = "2.0.0".into();
    seen.components[0].settled = false;
    let during = compute(&chat(Some(before)), &seen, at(2));
    assert_eq!(during.version, "1.0.0");
    assert_eq!(during.target_version.as_deref(), Some("2.0.0"));
    seen.components[0].settled = true;
    let after = compute(&chat(Some(during)), &seen, at(3));
    assert_eq!(after.version, "2.0.0");
    assert_eq!(after.target_version, None);
}

#[test]
fn each_transition_is_one_event_and_no_transition_is_none() {
    let kinds = |before: Option<&ChatClusterStatus>, after: &ChatClusterStatus| -> Vec<String> {
        let all = transitions(before, after);
        all.into_iter()
            .map(|it| format!("{} {}", it.type_, it.status))
            .collect()
    };
    let mut seen = healthy();
    seen.components[0].settled = false;
    let coming = compute(&chat(None), &seen, at(1));
    assert!(kinds(None, &coming).is_empty());
    let ready = compute(&chat(Some(coming.clone())), &healthy(), at(2));
    assert_eq!(kinds(Some(&coming), &ready), ["Ready True"]);
    assert!(kinds(Some(&ready), &ready).is_empty());
    seen.problem = Some(problem("SecretMissing"));
    let stalled = compute(&chat(Some(ready.clone())), &seen, at(3));
    assert_eq!(
        kinds(Some(&ready), &stalled),
        ["Ready False", "Stalled True"]
    );
    seen.problem = Some(problem("KeyMissing"));
    let other = compute(&chat(Some(stalled.clone())), &seen, at(4));
    assert_eq!(kinds(Some(&stalled), &other), ["Stalled True"]);
}

#[test]
fn progress_is_what_turns_nothing_of_the_same_spec() {
    let mut seen = healthy();
    seen.components[0].settled = false;
    let first = compute(&chat(None), &seen, at(1));
    seen.components[1].settled = false;
    let second = compute(&chat(Some(first.clone())), &seen, at(2));
    assert_ne!(first, second);
    assert!(is_progress(Some(&first), &second));
    assert!(!is_progress(None, &second));

    let ready = compute(&chat(Some(first.clone())), &healthy(), at(2));
    assert!(!is_progress(Some(&first), &ready));
    let mut edited = second.clone();
    edited.observed_generation = Some(4);
    assert!(!is_progress(Some(&first), &edited));
    seen.problem = Some(problem("NoSuchSecret"));
    let stalled = compute(&chat(Some(first.clone())), &seen, at(2));
    assert!(!is_progress(Some(&first), &stalled));
    seen.components[1].settled = true;
    let other = compute(&chat(Some(stalled.clone())), &seen, at(3));
    assert!(!is_progress(Some(&stalled), &other));
}
