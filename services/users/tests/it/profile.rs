//! Row 16: one's own profile.

use chat_events::{Event, UserId, UserRef};
use reqwest::StatusCode;

use crate::harness::{Stack, json, problem, until};

#[tokio::test]
async fn a_changed_name_is_published_to_other_clients() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    let bob = stack.person("bob").await;
    for (version, name) in [(2, "Ada Lovelace"), (3, "Zoë 王 🙂")] {
        let changed = json(stack.rename(&ada, name).await, StatusCode::OK).await;
        assert_eq!(changed["display_name"], name);
        assert_eq!(stack.user(&bob, ada.id).await.expect("Ada"), changed);
        let updated = Event::UserUpdated(UserRef {
            user_id: ada.id,
            username: "ada".into(),
            display_name: name.into(),
            version,
        });
        until("user.updated", async || {
            stack.heard().contains(&updated).then_some(())
        })
        .await;
    }
    let outbox: i64 = sqlx::query_scalar("select count(*) from outbox")
        .fetch_one(&stack.database)
        .await
        .expect("a count");
    assert_eq!(outbox, 0);
}

#[tokio::test]
async fn the_same_name_again_changes_nothing() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    stack.rename(&ada, "Ada").await;
    let before = until("the outbox is empty", async || {
        let updated = |event: &Event| matches!(event, Event::UserUpdated(_));
        let published = stack.heard().iter().any(updated);
        let state = stack.state().await;
        (published && !state.contains("user.updated")).then_some(state)
    })
    .await;
    let again = json(stack.rename(&ada, " Ada ").await, StatusCode::OK).await;
    assert_eq!(again["display_name"], "Ada");
    assert_eq!(stack.state().await, before);
}

#[tokio::test]
async fn changes_at_once_get_one_version_each() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    let names: Vec<String> = (0..8).map(|number| format!("Ada {number}")).collect();
    let changes = names
        .iter()
        .map(async |name| stack.rename(&ada, name).await.status());
    for status in futures::future::join_all(changes).await {
        assert_eq!(status, StatusCode::OK);
    }
    let versions = until("all of them", async || {
        let versions: Vec<i64> = stack
            .heard()
            .iter()
            .filter_map(|event| match event {
                Event::UserUpdated(user) => Some(user.version),
                _ => None,
            })
            .collect();
        (versions.len() == 8).then_some(versions)
    })
    .await;
    assert_eq!(versions, (2..=9).collect::<Vec<i64>>());
}

#[tokio::test]
async fn nobody_changes_another_user() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    let bob = stack.person("bob").await;
    for path in [format!("/api/users/{}", bob.id), "/api/users".into()] {
        let request = stack
            .request(reqwest::Method::PATCH, &path)
            .bearer_auth(&ada.token)
            .json(&serde_json::json!({ "display_name": "mine" }));
        problem(
            request.send().await.expect("an answer"),
            405,
            "method_not_allowed",
        )
        .await;
    }
    let shown = stack.user(&ada, bob.id).await.expect("Bob");
    assert_eq!(shown["display_name"], "bob");
}

#[tokio::test]
async fn who_is_too_new_is_asked_to_try_again_and_who_was_deleted_is_not() {
    let stack = Stack::start().await;
    let new = stack.auth.person("new");
    let answer = stack.rename(&new, "New").await;
    assert!(answer.headers().contains_key("retry-after"));
    problem(answer, 503, "unavailable").await;

    let gone = stack.person("gone").await;
    stack.publish(Event::UserDeleted { user_id: gone.id }).await;
    until("the deletion", async || {
        stack.user(&gone, gone.id).await.is_none().then_some(())
    })
    .await;
    problem(stack.rename(&gone, "Gone").await, 404, "not_found").await;
    let nobody = UserId::generate();
    let answer = stack.get(&new, &format!("/api/users/{nobody}")).await;
    problem(answer, 404, "not_found").await;
}
