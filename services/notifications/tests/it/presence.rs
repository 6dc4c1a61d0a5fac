//! Who is online, for everybody.

use std::collections::HashSet;
use std::time::Duration;

use chat_events::{Event, Recorded, UserId, UserRef, UserSeen, limits};
use serde_json::{Value, json};

use crate::harness::{Stack, display_name, seen, until, user};

fn names(hello: &Value) -> Vec<&str> {
    let online = hello["online"].as_array().expect("a list");
    online
        .iter()
        .filter_map(|user| user["username"].as_str())
        .collect()
}

#[tokio::test]
async fn a_guest_sees_who_is_online_and_nothing_else() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let (mut early, hello) = stack.join(None).await;
    assert_eq!(
        hello,
        json!({ "type": "hello", "user_id": null, "unread": 0, "online": [] })
    );
    stack.publish(Event::UserOnline(seen(&ann))).await;
    let told = json!({
        "type": "user.online",
        "users": [{
            "id": ann.id,
            "username": "ann",
            "display_name": display_name("ann"),
        }],
    });
    assert_eq!(early.next().await, told, "no address and no other field");
    let (mut late, hello) = stack.join(None).await;
    assert_eq!(
        names(&hello),
        ["ann"],
        "whoever was told finds it in the hello"
    );
    stack.publish(Event::UserOnline(seen(&ben))).await;
    stack.publish(Event::UserOffline(seen(&ann))).await;
    for socket in [&mut early, &mut late] {
        let mut heard = [socket.next().await, socket.next().await];
        // Two users may change places, one user never does.
        heard.sort_by_key(|frame| frame["type"].to_string());
        assert_eq!(heard[0]["type"], "user.offline");
        assert_eq!(user(&heard[0]), Some(ann.id));
        assert_eq!(heard[1]["type"], "user.online");
        assert_eq!(user(&heard[1]), Some(ben.id));
    }
    let (_, hello) = stack.join(Some(&ann)).await;
    assert_eq!(names(&hello), ["ben"]);
}

#[tokio::test]
async fn a_crowd_that_comes_at_once_is_told_in_few_frames() {
    let stack = Stack::start().await;
    // More than may wait for a socket.
    let crowd: Vec<_> = (0..2 * limits::OUT_QUEUE_EVENTS)
        .map(|number| UserSeen {
            user_id: UserId::generate(),
            username: format!("guest{number}"),
            display_name: "A Guest".into(),
        })
        .collect();
    let (mut socket, _) = stack.join(None).await;
    for user in &crowd {
        stack.publish(Event::UserOnline(user.clone())).await;
    }
    let (mut heard, mut frames) = (HashSet::new(), 0);
    while heard.len() < crowd.len() {
        let frame = socket.next().await;
        assert_eq!(frame["type"], "user.online");
        frames += 1;
        for user in frame["users"].as_array().expect("users") {
            let id = user["id"].as_str().expect("an id").to_owned();
            assert!(heard.insert(id), "told twice: {user}");
        }
    }
    assert!(frames < crowd.len() / 4, "{frames} frames");
}

#[tokio::test]
async fn an_older_decision_never_wins() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let mut late = Recorded::new(Event::UserOnline(seen(&ann)), None);
    late.at -= Duration::from_secs(5);
    let (mut guest, _) = stack.join(None).await;
    stack.publish(Event::UserOffline(seen(&ann))).await;
    assert_eq!(guest.next().await["type"], "user.offline");
    stack.publish_as_is(late).await;
    stack.publish(Event::UserOnline(seen(&ben))).await;
    for frame in guest.until("user.online").await {
        let online = frame["type"] == "user.online";
        assert_eq!(user(&frame) == Some(ben.id), online, "{frame}");
    }
    let (_, hello) = stack.join(None).await;
    assert_eq!(names(&hello), ["ben"]);
}

#[tokio::test]
async fn a_changed_name_reaches_whoever_is_signed_in() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let named = |display_name: &str, version| {
        Event::UserUpdated(UserRef {
            user_id: ann.id,
            username: ann.username.clone(),
            display_name: display_name.to_owned(),
            version,
        })
    };
    let (mut guest, _) = stack.join(None).await;
    let (mut socket, _) = stack.join(Some(&ben)).await;
    stack.publish(named("Ann the Third", 3)).await;
    let told = json!({
        "type": "user.updated",
        "users": [{
            "id": ann.id,
            "username": "ann",
            "display_name": "Ann the Third",
        }],
    });
    assert_eq!(socket.until("user.updated").await.last(), Some(&told));
    // An older name is not told as the newest.
    stack.publish(named("Ann the Second", 2)).await;
    stack.publish(Event::UserOnline(seen(&ann))).await;
    for frame in socket.until("user.online").await {
        assert_eq!(frame["users"][0]["display_name"], "Ann the Third");
    }
    for frame in guest.until("user.online").await {
        assert_ne!(frame["type"], "user.updated", "guests see presence only");
    }
}

#[tokio::test]
async fn a_signed_in_socket_keeps_its_user_online_until_the_last_one_closes() {
    let stack = Stack::start().await;
    let ann = stack.person("ann").await;
    let is_online = async |wanted: bool| {
        until("the lease", async || {
            let online = stack.is_online(&ann).await;
            (online == wanted).then_some(())
        })
        .await;
    };
    let (_guest, _) = stack.join(None).await;
    let (mut first, _) = stack.join(Some(&ann)).await;
    is_online(true).await;
    let (mut second, _) = stack.join(Some(&ann)).await;
    first.stream.close(None).await.expect("a close");
    until("the tab is closed", async || {
        let open = stack.metric("chat_sockets{").await;
        open.filter(|open| *open == 2)
    })
    .await;
    assert!(stack.is_online(&ann).await);
    second.stream.close(None).await.expect("a close");
    is_online(false).await;
}
