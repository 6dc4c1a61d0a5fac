//! Rows 82 and 84, from the side of the consumer: the directory follows the
//! events, whatever their order and however often they come.

use chat_events::topology::Exchange;
use chat_events::{Event, Recorded, Service, SessionId, UserRef};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use reqwest::StatusCode;

use crate::harness::{Stack, broker, names, queue, registered, until};

#[tokio::test]
async fn stop_the_consumer_act_start_it_and_the_state_converges() {
    let mut stack = Stack::start().await;
    let ada = stack.person("ada").await;
    stack.replica.child.kill().await.expect("the service ends");
    let late = stack.auth.person("late");
    stack.publish(registered(&late)).await;
    stack.publish(Event::UserDeleted { user_id: ada.id }).await;
    stack.replica = stack.another().await;
    until("the late one alone", async || {
        let page = stack.list(&late, "").await;
        (names(&page) == ["late"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_event_that_comes_twice_counts_once() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    assert_eq!(stack.rename(&ada, "Ada L.").await.status(), StatusCode::OK);
    let again = Recorded::new(registered(&ada), None);
    for _ in 0..3 {
        stack.publish_as_is(again.clone()).await;
    }
    // The queue is in order: after this one the others were handled.
    let marker = stack.person("marker").await;
    let shown = stack.user(&marker, ada.id).await.expect("Ada");
    assert_eq!(shown["display_name"], "Ada L.");
    assert_eq!(
        stack.list(&marker, "").await["users"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
}

#[tokio::test]
async fn who_was_deleted_stays_deleted_whatever_comes_late() {
    let stack = Stack::start().await;
    let never = stack.auth.person("never");
    stack
        .publish(Event::UserDeleted { user_id: never.id })
        .await;
    let ada = stack.person("ada").await;
    stack.publish(Event::UserDeleted { user_id: ada.id }).await;
    until("the deletion", async || {
        stack.user(&never, ada.id).await.is_none().then_some(())
    })
    .await;
    stack.publish(registered(&ada)).await;
    stack.publish(registered(&never)).await;
    let marker = stack.person("marker").await;
    assert_eq!(names(&stack.list(&marker, "").await), ["marker"]);
    // The name is free for somebody else.
    let other = stack.person("ada").await;
    assert_eq!(names(&stack.list(&other, "q=ada").await), ["ada"]);
}

#[tokio::test]
async fn the_latest_visit_is_shown_whatever_the_order() {
    let stack = Stack::start().await;
    let ada = stack.person("ada").await;
    let (user_id, session_id) = (ada.id, SessionId::generate());
    let first = Recorded::new(
        Event::UserLoggedIn {
            user_id,
            session_id,
        },
        None,
    );
    let last = Recorded::new(
        Event::UserSignedOut {
            user_id,
            session_id,
        },
        None,
    );
    stack.publish_as_is(last.clone()).await;
    stack.publish_as_is(first).await;
    let shown = async || {
        let shown = stack.user(&ada, ada.id).await?;
        shown["last_seen_at"]
            .as_str()?
            .parse::<jiff::Timestamp>()
            .ok()
    };
    let seen = until("the visit", async || {
        let seen = shown().await?;
        // The database keeps microseconds.
        (seen.as_microsecond() >= last.at.as_microsecond()).then_some(seen)
    })
    .await;
    let marker = stack.auth.person("marker");
    stack
        .publish(Event::UserLoggedIn {
            user_id: marker.id,
            session_id,
        })
        .await;
    assert_eq!(shown().await, Some(seen));
}

#[tokio::test]
async fn what_cannot_be_handled_becomes_a_dead_letter_and_the_rest_goes_on() {
    let stack = Stack::start().await;
    let channel = broker(&stack.cluster, Service::Auth).channel().await;
    let bad = stack.auth.person("bad");
    // No column takes NUL; the good neighbours of the same batch are kept.
    let poison = Event::UserRegistered(UserRef {
        user_id: bad.id,
        username: "a\0b".into(),
        display_name: "x".into(),
        version: 1,
    });
    let neighbour = stack.auth.person("neighbour");
    let events = [registered(&neighbour), poison]
        .map(|event| Recorded::new(event, None))
        .to_vec();
    stack.publisher.publish_all(events).await.expect("events");
    for unreadable in [&b"no json"[..], br#"{"v":1,"events":[{"id":1}]}"#] {
        channel
            .basic_publish(
                Exchange::User.name().into(),
                "user.registered".into(),
                BasicPublishOptions::default(),
                unreadable,
                BasicProperties::default(),
            )
            .await
            .expect("published");
    }
    let marker = stack.person("marker").await;
    assert!(stack.user(&marker, neighbour.id).await.is_some());
    assert!(stack.user(&marker, bad.id).await.is_none());
    until("three dead letters", async || {
        let list = stack.command("dead-letters").arg("list").output().await;
        let list = String::from_utf8(list.expect("a list").stdout).expect("text");
        let of_ours = queue("UserRegistrationQueue").name;
        (list.matches(&of_ours).count() == 3).then_some(())
    })
    .await;
    assert!(stack.metrics().await.contains("chat_dead_letters_total"));
}
