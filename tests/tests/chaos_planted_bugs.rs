//! Bugs are put into the services, one at a time, and have to be found: by the
//! invariant that is meant, in ten runs at most. The run that found it keeps every
//! promise without the bug. Every test run takes the quick ones; `cargo xtask chaos --planted`
//! takes all of them.

use anyhow::ensure;
use chat_e2e::planted_bugs::{BUGS, PlantedBug};

async fn hunt(name: &str) -> anyhow::Result<()> {
    let bug = PlantedBug::named(name)?;
    let found = bug.hunt().await?;
    let (seed, words) = (found.seed, found.words);
    eprintln!("found {name} by {}, seed {seed}: {words}", bug.found_by);
    Ok(())
}

macro_rules! hunts {
    ($($test:ident $name:literal)*) => {
        pub const HUNTED: &[&str] = &[$($name),*];
        $(
            #[tokio::test]
            async fn $test() -> anyhow::Result<()> {
                super::hunt($name).await
            }
        )*
    };
}

mod quick_hunts {
    hunts! {
        finds_sends_that_are_stored_again "dedupe-forgets"
        finds_refresh_tokens_with_two_successors "refresh-branch"
        finds_pages_under_the_key_of_later_ones "stale-cache"
    }
}

mod long_hunts {
    hunts! {
        finds_entries_that_strangers_hear "fan-out-to-everybody"
        finds_sends_that_are_acknowledged_before_the_commit "ack-before-commit"
        finds_sends_that_are_accepted_before_the_confirm "accepted-before-confirm"
        finds_sends_that_no_queue_takes "no-mandatory"
        finds_numbers_that_are_counted_without_a_lock "seq-from-max"
        finds_an_order_by_the_clocks_of_senders "order-by-clock"
        finds_read_marks_that_fall "read-mark-falls"
        finds_resumes_of_the_first_half "resume-half"
        finds_heartbeats_that_do_not_say_where_logs_end "no-tail-check"
        finds_leases_of_dead_pods_that_do_not_run_out "presence-without-ttl"
        finds_events_that_are_acknowledged_before_their_effect "ack-before-effect"
        finds_notices_that_are_made_twice "notice-twice"
        finds_consumers_that_end_over_what_they_cannot_read "panic-on-bad-event"
        finds_bodies_that_are_put_back_for_ever "requeue-for-ever"
        finds_events_that_a_cursor_passed_by "outbox-cursor"
        finds_sockets_that_are_not_told_of_a_sign_out "revoke-not-told"
        finds_connections_that_are_not_given_back "pool-leak"
    }
}

/// Quoted in the service, hunted here, and told in the table for people.
#[test]
fn each_bug_of_the_services_is_hunted_and_told_of() -> anyhow::Result<()> {
    let services = include_str!("../../services/kit/src/planted.rs");
    let document = include_str!("../../docs/reliability.md");
    let mut planted: Vec<&str> = services
        .lines()
        .filter_map(|line| line.trim().split_once(" \"")?.1.strip_suffix('"'))
        .filter(|name| !name.contains(' '))
        .collect();
    let mut hunted = [quick_hunts::HUNTED, long_hunts::HUNTED].concat();
    let mut known: Vec<&str> = BUGS.iter().map(|bug| bug.name).collect();
    for names in [&mut planted, &mut hunted, &mut known] {
        names.sort_unstable();
    }
    ensure!(
        planted == known && known == hunted,
        "{planted:?}, {known:?}, {hunted:?}"
    );
    for bug in BUGS {
        let row = format!("| `{}` |", bug.name);
        let told = document.lines().find(|line| line.starts_with(&row));
        ensure!(
            told.is_some_and(|told| told.contains(&format!("| {} |", bug.found_by))),
            "{} is not in docs/reliability.md as found by {}",
            bug.name,
            bug.found_by
        );
    }
    Ok(())
}
