//! What is needed and what is not: stores that go away and come back.

use std::time::Duration;

use chat_local::testing::own_stores;
use reqwest::StatusCode;

use crate::harness::{Stack, json, problem, registered, until, within};

/// I12.
const BOUND: Duration = Duration::from_secs(45);

#[tokio::test]
async fn redis_down_degrades_and_does_not_fail() {
    let (stores, cluster) = own_stores().await;
    let stack = Stack::on(cluster).await;
    let second = stack.another().await;
    let (ada, bob) = (stack.person("ada").await, stack.person("bob").await);
    let pod = stack.pod("pod").await;
    for person in [&ada, &bob] {
        pod.presence.opened(person.id).await;
        stack.await_transitions(person, &["online"]).await;
    }
    stores.redis.kill().await.expect("Redis ends");

    for round in 0..3 {
        let name = format!("Ada {round}");
        json(stack.rename(&ada, &name).await, StatusCode::OK).await;
        for replica in [&stack.replica, &second] {
            let page = stack.list_from(replica, &bob, "q=ada").await;
            assert_eq!(page["users"][0]["display_name"], name);
            // Presence keeps what it was.
            assert_eq!(page["users"][0]["status"], "online");
            let (status, parts) = stack.readiness(replica).await.expect("an answer");
            assert_eq!(status, StatusCode::OK, "{parts}");
        }
    }
    // Bob closes his tab while nobody can note it.
    pod.presence.closed(bob.id).await;
    let new = stack.auth.person("new");
    stack.publish(registered(&new)).await;
    until("a new user without Redis", async || {
        stack.user(&ada, new.id).await
    })
    .await;

    // It comes back empty: the leases are written again, and nobody flaps.
    stores.redis.start().await.expect("Redis starts");
    within(BOUND, "Bob is offline", async || {
        (stack.transitions(&bob) == ["online", "offline"]).then_some(())
    })
    .await;
    assert_eq!(stack.transitions(&ada), ["online"]);
    json(stack.rename(&ada, "Ada again").await, StatusCode::OK).await;
    for replica in [&stack.replica, &second] {
        for _ in 0..2 {
            let page = stack.list_from(replica, &bob, "q=ada").await;
            assert_eq!(page["users"][0]["display_name"], "Ada again");
        }
    }
}

#[tokio::test]
async fn not_ready_while_the_database_or_the_broker_is_missing() {
    let (stores, cluster) = own_stores().await;
    let stack = Stack::on(cluster).await;
    let ada = stack.person("ada").await;
    let part = async |name: &str, ready: bool| {
        until(name, async || {
            let (status, parts) = stack.readiness(&stack.replica).await?;
            let all = parts.as_object()?.values().all(|ready| ready == true);
            assert_eq!(status == StatusCode::OK, all);
            let this = parts
                .as_object()?
                .iter()
                .find(|(key, _)| key.starts_with(name))?;
            (this.1 == ready && all == ready).then_some(())
        })
        .await;
    };
    stores.rabbitmq.kill().await.expect("the broker ends");
    part("broker", false).await;
    // A change is taken and published later (row 84, from this side).
    json(stack.rename(&ada, "Ada L.").await, StatusCode::OK).await;

    stores.postgres.kill().await.expect("the database ends");
    part("database", false).await;
    problem(stack.get(&ada, "/api/users").await, 503, "unavailable").await;
    stores.postgres.start().await.expect("the database starts");
    let page = until("the list", async || {
        let answer = stack.get(&ada, "/api/users").await;
        (answer.status() == StatusCode::OK).then_some(answer)
    });
    assert_eq!(
        json(page.await, StatusCode::OK).await["users"][0]["display_name"],
        "Ada L."
    );

    stores.rabbitmq.start().await.expect("the broker starts");
    part("broker", true).await;
    within(BOUND, "user.updated", async || {
        let heard = stack.heard();
        heard
            .iter()
            .any(|event| matches!(event, chat_events::Event::UserUpdated(_)))
            .then_some(())
    })
    .await;
}
