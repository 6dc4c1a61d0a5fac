//! Row 18: who is online, from leases of several tabs on several pods.

use std::time::{Duration, Instant};

use chat_events::Event;
use chat_kit::broker::Publisher;
use chat_kit::presence::Presence;
use tokio_util::sync::CancellationToken;

use crate::harness::{DRAIN, Person, Stack, registered, until, within};

/// Row 20.
const SOON: Duration = Duration::from_secs(2);
/// I12.
const BOUND: Duration = Duration::from_secs(45);

async fn await_status(
    stack: &Stack,
    reader: &Person,
    person: &Person,
    status: &str,
    patience: Duration,
) {
    within(patience, status, async || {
        let user = stack.user(reader, person.id).await?;
        (user["status"] == status).then_some(())
    })
    .await;
}

/// Nobody is believed to have left while the leases are as new as the cluster.
async fn await_settled(stack: &Stack) {
    until("old enough leases", async || {
        let view = stack.leases().look(&[]).await.ok()?;
        view.settled.then_some(())
    })
    .await;
}

#[tokio::test]
async fn last_tab_closed_is_offline_and_others_see_it_in_under_2_s() {
    let stack = Stack::start().await;
    let (ada, bob) = (stack.person("ada").await, stack.person("bob").await);
    let (chat, notices) = (stack.pod("chat").await, stack.pod("notices").await);
    await_settled(&stack).await;
    for round in 1..=3 {
        chat.presence.opened(ada.id).await;
        await_status(&stack, &bob, &ada, "online", SOON).await;
        // Two tabs on one pod, one on another.
        chat.presence.opened(ada.id).await;
        notices.presence.opened(ada.id).await;
        chat.presence.closed(ada.id).await;
        notices.presence.closed(ada.id).await;
        assert_eq!(
            stack.user(&bob, ada.id).await.expect("Ada")["status"],
            "online"
        );
        chat.presence.closed(ada.id).await;
        await_status(&stack, &bob, &ada, "offline", SOON).await;
        let expected = ["online", "offline"].repeat(round);
        stack.await_transitions(&ada, &expected).await;
    }
    let shown = stack.user(&bob, ada.id).await.expect("Ada");
    assert!(shown["last_seen_at"].is_string());
}

#[tokio::test]
async fn a_reload_of_the_page_is_no_change() {
    let stack = Stack::start().await;
    let (ada, bob) = (stack.person("ada").await, stack.person("bob").await);
    let (one, other) = (stack.pod("one").await, stack.pod("other").await);
    one.presence.opened(ada.id).await;
    stack.await_transitions(&ada, &["online"]).await;
    await_settled(&stack).await;
    for _ in 0..5 {
        one.presence.closed(ada.id).await;
        until("the close is noticed", async || {
            sqlx::query_scalar("select away_since is not null from users where id = $1")
                .bind(ada.id.0)
                .fetch_one(&stack.database)
                .await
                .is_ok_and(|noticed: bool| noticed)
                .then_some(())
        })
        .await;
        other.presence.opened(ada.id).await;
        other.presence.closed(ada.id).await;
        one.presence.opened(ada.id).await;
    }
    // Somebody who leaves meanwhile is told after all of this was looked at twice.
    one.presence.opened(bob.id).await;
    stack.await_transitions(&bob, &["online"]).await;
    one.presence.closed(bob.id).await;
    stack.await_transitions(&bob, &["online", "offline"]).await;
    assert_eq!(stack.transitions(&ada), ["online"]);
}

#[tokio::test]
async fn a_killed_pod_takes_its_users_offline_within_45_s_and_nobody_else() {
    let stack = Stack::start().await;
    let [ada, bob, cleo] = ["ada", "bob", "cleo"].map(|name| stack.auth.person(name));
    for person in [&ada, &bob, &cleo] {
        stack.publish(registered(person)).await;
    }
    let (dies, lives) = (stack.pod("dies").await, stack.pod("lives").await);
    dies.presence.opened(ada.id).await;
    dies.presence.opened(bob.id).await;
    lives.presence.opened(bob.id).await;
    lives.presence.opened(cleo.id).await;
    for person in [&ada, &bob, &cleo] {
        stack.await_transitions(person, &["online"]).await;
    }
    dies.kill();
    let killed = Instant::now();
    await_status(&stack, &bob, &ada, "offline", BOUND).await;
    assert!(
        killed.elapsed() > Duration::from_secs(15),
        "a lease has to run out first"
    );
    stack.await_transitions(&ada, &["online", "offline"]).await;
    for person in [&bob, &cleo] {
        assert_eq!(stack.transitions(person), ["online"]);
    }
}

#[tokio::test]
async fn a_pod_that_stops_keeps_its_users_until_their_sockets_close() {
    let stack = Stack::start().await;
    let (ada, bob) = (stack.person("ada").await, stack.person("bob").await);
    let (stops, stays) = (stack.pod("stops").await, stack.pod("stays").await);
    for person in [&ada, &bob] {
        stops.presence.opened(person.id).await;
        stack.await_transitions(person, &["online"]).await;
    }
    stops.stop.cancel();
    // Ada comes back to another pod, Bob does not.
    stays.presence.opened(ada.id).await;
    stops.presence.closed(ada.id).await;
    stops.presence.closed(bob.id).await;
    stack.await_transitions(&bob, &["online", "offline"]).await;
    assert_eq!(stack.transitions(&ada), ["online"]);
}

#[tokio::test]
async fn two_replicas_tell_each_change_once() {
    let stack = Stack::start().await;
    let _second = stack.another().await;
    let names: Vec<String> = (0..20).map(|number| format!("user{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let people = stack.people(&names).await;
    let pods = [stack.pod("one").await, stack.pod("two").await];
    for round in 1..=2 {
        let open = people
            .iter()
            .flat_map(|person| pods.iter().map(|pod| pod.presence.opened(person.id)));
        futures::future::join_all(open).await;
        let online = &["online", "offline", "online"][..round * 2 - 1];
        for person in &people {
            stack.await_transitions(person, online).await;
        }
        let close = people
            .iter()
            .flat_map(|person| pods.iter().map(|pod| pod.presence.closed(person.id)));
        futures::future::join_all(close).await;
        let offline = ["online", "offline"].repeat(round);
        for person in &people {
            stack.await_transitions(person, &offline).await;
        }
    }
}

#[tokio::test]
async fn who_opens_a_socket_before_he_is_known_is_online_when_he_is() {
    let stack = Stack::start().await;
    let ada = stack.auth.person("ada");
    let pod = stack.pod("pod").await;
    pod.presence.opened(ada.id).await;
    stack.publish(registered(&ada)).await;
    within(SOON, "online", async || {
        (stack.transitions(&ada) == ["online"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_is_deleted_while_online_goes_offline() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    let pod = stack.pod("pod").await;
    pod.presence.opened(ada.id).await;
    stack.await_transitions(&ada, &["online"]).await;
    stack.publish(Event::UserDeleted { user_id: ada.id }).await;
    stack.await_transitions(&ada, &["online", "offline"]).await;
    pod.presence.closed(ada.id).await;
    until("nobody is left", async || {
        stack.user(&ada, ada.id).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hint_that_is_lost_is_made_up_for() {
    let stack = Stack::start().await;
    let (ada, bob) = (stack.person("ada").await, stack.person("bob").await);
    // Nobody takes what this pod publishes.
    let (nowhere, _taken) = Publisher::pair(1);
    let silent = Presence::new(stack.leases(), "silent", nowhere);
    let kept = tokio::spawn(silent.clone().keep(CancellationToken::new(), DRAIN));
    for (open, expected) in [(true, "online"), (false, "offline")] {
        for person in [&ada, &bob] {
            if open {
                silent.opened(person.id).await;
            } else {
                silent.closed(person.id).await;
            }
        }
        for person in [&ada, &bob] {
            await_status(&stack, &ada, person, expected, BOUND).await;
        }
    }
    kept.abort();
}
