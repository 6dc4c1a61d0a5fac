use std::collections::BTreeSet;

use super::*;
use crate::build::fixture::{after, assert_built, chat, external};

fn built(chat: &Validated) -> Resources {
    let mut out = Resources::default();
    build(chat, &mut out);
    out
}

#[test]
fn logins_are_tried_when_stores_have_something_to_learn() {
    let tried: Vec<usize> = (0..6).map(|it| built(&after(it)).jobs.len()).collect();
    // Settled, announced, swapped, retiring, withdrawn, settled.
    assert_eq!(tried, [0, 3, 0, 0, 3, 0]);
    let mut stopped = after(1);
    stopped.stopped = true;
    assert!(built(&stopped).jobs.is_empty());
}

#[test]
fn both_logins_are_to_be_accepted_at_first_and_the_old_refused_at_last() {
    let users = |chat: &Validated| {
        let store = stores(chat).last().expect("Redis");
        logins(chat, &store).map(|lines| {
            let words = lines.lines().filter_map(|line| line.split(' ').next());
            words.map(str::to_owned).collect::<Vec<_>>()
        })
    };
    let first = redis::users().map(|it| rights::role("demo", it));
    let first: Vec<String> = first.collect();
    let second: Vec<String> = first.iter().map(|it| format!("{it}_2")).collect();
    let none = Vec::new();
    assert_eq!(
        users(&after(1)),
        [[&first[..], &second[..]].concat(), none.clone()]
    );
    assert_eq!(users(&after(4)), [second, first]);
}

#[test]
fn the_name_of_a_trial_tells_who_is_tried_and_fits() {
    let (announced, withdrawn) = (after(1), after(4));
    let all = [names(&announced), names(&withdrawn), names(&after(1))].concat();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 9);
    let mut long = announced;
    long.name = "a".repeat(40);
    assert!(names(&long).iter().all(|it| it.len() <= 63));
}

#[test]
fn what_kept_a_trial_from_running_can_be_corrected() {
    let before = after(1);
    let names = |correct: fn(&mut Validated)| {
        let mut chat = before.clone();
        correct(&mut chat);
        names(&chat)
    };
    let same = names(|_| {});
    assert_ne!(same, names(|it| it.pull_secrets = vec!["pull".into()]));
    let tolerant = names(|it| {
        let toleration = crate::crd::Toleration {
            operator: "Exists".into(),
            ..crate::crd::Toleration::default()
        };
        it.scheduling.tolerations = vec![toleration];
    });
    assert_ne!(same, tolerant);
}

#[test]
fn only_our_own_stores_are_tried() {
    let mut chat = after(1);
    chat.rabbitmq = Rabbitmq::External(external("broker.example.com", 5672));
    chat.redis = Redis::External(external("redis.example.com", 6379));
    assert_eq!(built(&chat).jobs.len(), 1);
}

#[test]
fn a_trial_of_logins() {
    let mut chat = chat();
    chat.credentials.passwords.stage = PasswordStage::Withdrawn;
    assert_built(&built(&chat), "login-check");
}
