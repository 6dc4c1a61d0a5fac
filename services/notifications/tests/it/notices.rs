//! Notices are made, kept, read and deleted.

use chat_events::{ConversationId, Event, Recorded, UserRef};
use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Stack, ids, json, message, read, seen, stored, until};

#[tokio::test]
async fn an_offline_receiver_finds_notices_at_the_next_sign_in_and_reading_twice_loses_none() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let conversation = ConversationId::generate();
    let sent = message(conversation, 1, &ann, &"🙂".repeat(200));
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    stack.unread(&ben, 1).await;

    let again = stack.auth.session_of(ben.id, "ben", 300);
    let (_socket, hello) = stack.join(Some(&again)).await;
    assert_eq!(hello["unread"], 1);
    assert_eq!(hello["user_id"], json!(ben.id));
    for _ in 0..2 {
        let list = stack.list(&again).await;
        let notice = &list["notices"][0];
        assert_eq!(list["notices"].as_array().map(Vec::len), Some(1));
        assert_eq!(notice["conversation_id"], json!(conversation));
        assert_eq!(notice["message_id"], json!(sent.id));
        assert_eq!(notice["seq"], 1);
        assert_eq!(notice["sender_id"], json!(ann.id));
        assert_eq!(notice["sender_username"], "ann");
        assert_eq!(notice["preview"], "🙂".repeat(120), "cut at 120 characters");
        assert_eq!(notice["read_at"], json!(null));
    }
    assert_eq!(
        stack.list(&ann).await["notices"],
        json!([]),
        "none for the sender"
    );
}

#[tokio::test]
async fn a_message_notice_reaches_only_its_receiver_never_guests_or_third_users() {
    let stack = Stack::start().await;
    let (ann, ben, eve) = (
        stack.person("ann").await,
        stack.person("ben").await,
        stack.person("eve").await,
    );
    let (mut at_ben, _) = stack.join(Some(&ben)).await;
    let (mut at_ben_too, _) = stack.join(Some(&ben)).await;
    let mut others = Vec::new();
    for person in [Some(&ann), Some(&eve), None] {
        others.push(stack.join(person).await.0);
    }
    let sent = message(ConversationId::generate(), 1, &ann, "for Ben alone");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    for socket in [&mut at_ben, &mut at_ben_too] {
        let frame = socket.next().await;
        assert_eq!(frame["type"], "notice");
        assert_eq!(frame["unread"], 1);
        assert_eq!(frame["notice"]["preview"], "for Ben alone");
        assert_eq!(frame["notice"]["sender_username"], "ann");
    }
    // What comes after it must be the first thing that the others hear.
    stack.publish(Event::UserOnline(seen(&eve))).await;
    for socket in &mut others {
        assert_eq!(socket.next().await["type"], "user.online");
    }
}

#[tokio::test]
async fn a_repeated_event_makes_no_second_notice() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let conversation = ConversationId::generate();
    let first = message(conversation, 1, &ann, "once");
    let event = stored(&[&ann, &ben], &first);
    let recorded = Recorded::new(event.clone(), None);
    let (mut socket, _) = stack.join(Some(&ben)).await;
    stack.publish_as_is(recorded.clone()).await;
    assert_eq!(socket.next().await["notice"]["seq"], 1);
    // The same delivery again, the same message as another event, and both in one batch.
    stack.publish_as_is(recorded.clone()).await;
    stack.publish(event.clone()).await;
    stack
        .publish_all(vec![recorded.clone(), recorded, Recorded::new(event, None)])
        .await;
    let second = message(conversation, 2, &ann, "the next");
    stack.publish(stored(&[&ann, &ben], &second)).await;
    let list = stack.unread(&ben, 2).await;
    assert_eq!(ids(&list).len(), 2);
    let frame = socket.next().await;
    assert_eq!(frame["notice"]["seq"], 2, "no second push either");
    assert_eq!(frame["unread"], 2);
}

#[tokio::test]
async fn a_deleted_notice_does_not_come_back_with_a_repeated_event() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let conversation = ConversationId::generate();
    let event = stored(&[&ann, &ben], &message(conversation, 1, &ann, "secret"));
    stack.publish(event.clone()).await;
    let list = stack.unread(&ben, 1).await;
    let (mut socket, _) = stack.join(Some(&ben)).await;
    for _ in 0..2 {
        let answer = stack.delete(&ben, &ids(&list)[0]).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(socket.unread().await, 0);
    stack.publish(event).await;
    let next = message(conversation, 2, &ann, "the next");
    stack.publish(stored(&[&ann, &ben], &next)).await;
    let list = stack.unread(&ben, 1).await;
    assert_eq!(list["notices"][0]["seq"], 2);
    assert_eq!(ids(&list).len(), 1);
    let kept: i64 =
        sqlx::query_scalar("select count(*) from message_notices where preview = 'secret'")
            .fetch_one(&stack.database)
            .await
            .expect("a count");
    assert_eq!(kept, 0, "its text is gone");
}

#[tokio::test]
async fn reading_a_conversation_clears_its_notices_on_all_devices() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let (here, there) = (ConversationId::generate(), ConversationId::generate());
    for seq in 1..=3 {
        let sent = message(here, seq, &ann, "hi");
        stack.publish(stored(&[&ann, &ben], &sent)).await;
    }
    let elsewhere = message(there, 1, &ann, "elsewhere");
    stack.publish(stored(&[&ann, &ben], &elsewhere)).await;
    stack.unread(&ben, 4).await;
    let phone = stack.auth.session_of(ben.id, "ben", 300);
    let mut devices = [
        stack.join(Some(&ben)).await.0,
        stack.join(Some(&phone)).await.0,
    ];
    stack.publish(read(&[&ann, &ben], here, &ben, 2)).await;
    for device in &mut devices {
        assert_eq!(device.unread().await, 2);
    }
    let list = stack.list(&ben).await;
    let unread: Vec<_> = list["notices"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|notice| notice["read_at"].is_null())
        .map(|notice| (notice["conversation_id"].clone(), notice["seq"].clone()))
        .collect();
    assert_eq!(unread, [(json!(there), json!(1)), (json!(here), json!(3))]);
    let answer = stack
        .get("/api/notifications?unread=true", &ben)
        .send()
        .await;
    let only = json(answer.expect("an answer"), StatusCode::OK).await;
    assert_eq!(ids(&only).len(), 2);
}

#[tokio::test]
async fn a_message_that_arrives_after_its_read_counts_as_read() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let conversation = ConversationId::generate();
    stack
        .publish(read(&[&ann, &ben], conversation, &ben, 5))
        .await;
    // An older mark changes nothing.
    stack
        .publish(read(&[&ann, &ben], conversation, &ben, 2))
        .await;
    for seq in [4, 6] {
        let sent = message(conversation, seq, &ann, "hi");
        stack.publish(stored(&[&ann, &ben], &sent)).await;
    }
    let list = until("both notices", async || {
        let list = stack.list(&ben).await;
        (ids(&list).len() == 2).then_some(list)
    })
    .await;
    assert_eq!(list["unread"], 1);
    assert_eq!(list["notices"][0]["seq"], 6);
    assert_eq!(list["notices"][0]["read_at"], json!(null));
    assert!(list["notices"][1]["read_at"].is_string());
}

#[tokio::test]
async fn own_notices_only_another_users_gives_403() {
    let stack = Stack::start().await;
    let (ann, ben, eve) = (
        stack.person("ann").await,
        stack.person("ben").await,
        stack.person("eve").await,
    );
    let sent = message(ConversationId::generate(), 1, &ann, "for Ben");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    let list = stack.unread(&ben, 1).await;
    let id = &ids(&list)[0];
    assert_eq!(stack.list(&eve).await["notices"], json!([]));
    for answer in [
        stack.delete(&eve, id).await,
        stack.post_read(&eve, json!({ "ids": [id] })).await,
    ] {
        let problem = json(answer, StatusCode::FORBIDDEN).await;
        assert_eq!(problem["code"], "forbidden");
    }
    let all = stack.post_read(&eve, json!({ "all": true })).await;
    assert_eq!(all.status(), StatusCode::NO_CONTENT);
    assert_eq!(stack.list(&ben).await, list, "nothing has changed");
}

#[tokio::test]
async fn marking_as_read_counts_once_and_on_all_devices() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let conversation = ConversationId::generate();
    for seq in 1..=3 {
        let sent = message(conversation, seq, &ann, "hi");
        stack.publish(stored(&[&ann, &ben], &sent)).await;
    }
    let list = stack.unread(&ben, 3).await;
    let (mut socket, _) = stack.join(Some(&ben)).await;
    for _ in 0..2 {
        let body = json!({ "ids": [ids(&list)[0], uuid::Uuid::now_v7()] });
        let answer = stack.post_read(&ben, body).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(socket.unread().await, 2);
    let answer = stack.post_read(&ben, json!({ "all": true })).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(socket.unread().await, 0);
    assert_eq!(ids(&stack.unread(&ben, 0).await).len(), 3, "read, not gone");
}

#[tokio::test]
async fn pages_have_every_notice_once_also_when_new_ones_arrive_between() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let conversation = ConversationId::generate();
    let send = async |seqs: std::ops::RangeInclusive<i64>| {
        for seq in seqs {
            let sent = message(conversation, seq, &ann, "hi");
            stack.publish(stored(&[&ann, &ben], &sent)).await;
        }
    };
    send(1..=25).await;
    stack.unread(&ben, 25).await;
    let mut seqs = Vec::new();
    let mut path = "/api/notifications?limit=10".to_owned();
    loop {
        let answer = stack.get(&path, &ben).send().await.expect("an answer");
        let page = json(answer, StatusCode::OK).await;
        let notices = page["notices"].as_array().expect("a list");
        seqs.extend(notices.iter().filter_map(|notice| notice["seq"].as_i64()));
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/notifications?limit=10&cursor={cursor}");
        if seqs.len() == 10 {
            send(26..=30).await;
            stack.unread(&ben, 30).await;
        }
    }
    assert_eq!(seqs, (1..=25).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_notice_shows_the_newest_name_of_its_sender() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let sent = message(ConversationId::generate(), 1, &ann, "hi");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    stack.unread(&ben, 1).await;
    for (version, username) in [(3, "anna"), (2, "annie")] {
        stack
            .publish(Event::UserUpdated(UserRef {
                user_id: ann.id,
                username: username.into(),
                display_name: username.into(),
                version,
            }))
            .await;
    }
    // Handled after the two.
    stack.person("last").await;
    assert_eq!(
        stack.list(&ben).await["notices"][0]["sender_username"],
        "anna"
    );
}

#[tokio::test]
async fn the_count_is_exact_while_messages_arrive_and_are_read_at_once() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let conversation = ConversationId::generate();
    let total = 200;
    let (mut socket, _) = stack.join(Some(&ben)).await;
    let sending = async {
        for seq in 1..=total {
            let sent = message(conversation, seq, &ann, "hi");
            stack.publish(stored(&[&ann, &ben], &sent)).await;
            if seq % 20 == 0 {
                let up_to = seq - 10;
                stack
                    .publish(read(&[&ann, &ben], conversation, &ben, up_to))
                    .await;
            }
        }
    };
    let reading = async {
        for _ in 0..20 {
            let list = stack.list(&ben).await;
            if let Some(id) = ids(&list).first() {
                stack.delete(&ben, id).await;
            }
            stack.post_read(&ben, json!({ "all": true })).await;
        }
    };
    tokio::join!(sending, reading);
    // The last event is a read of all but the ten newest, and a list is of one moment.
    let unread = until("all notices", async || {
        let stored: i64 = sqlx::query_scalar("select count(*) from message_notices")
            .fetch_one(&stack.database)
            .await
            .expect("a count");
        let path = "/api/notifications?unread=true&limit=100";
        let answer = stack.get(path, &ben).send().await.expect("an answer");
        let list = json(answer, StatusCode::OK).await;
        let seqs: Vec<_> = list["notices"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|notice| notice["seq"].as_i64())
            .collect();
        let settled = stored == total && seqs.iter().all(|seq| *seq > total - 10);
        assert!(!settled || list["unread"] == json!(seqs.len()), "{list}");
        settled.then_some(seqs.len() as i64)
    })
    .await;
    assert_eq!(stack.list(&ben).await["unread"], unread);
    // The last thing that a device hears is the truth, too.
    let sent = message(ConversationId::generate(), 1, &ann, "last");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    let last = loop {
        let frame = socket.next().await;
        if frame["notice"]["preview"] == "last" {
            break frame;
        }
    };
    assert_eq!(last["unread"], unread + 1);
}

#[tokio::test]
async fn a_deleted_account_leaves_no_notices() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let sent = message(ConversationId::generate(), 1, &ann, "hi");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    stack.unread(&ben, 1).await;
    stack.publish(Event::UserDeleted { user_id: ben.id }).await;
    until("its notices are gone", async || {
        let left: i64 = sqlx::query_scalar("select count(*) from message_notices")
            .fetch_one(&stack.database)
            .await
            .expect("a count");
        (left == 0).then_some(())
    })
    .await;
    stack.publish(Event::UserOnline(seen(&ben))).await;
    stack.person("last").await;
    let (_, hello) = stack.join(None).await;
    assert_eq!(
        hello["online"],
        json!([]),
        "a late event does not bring it back"
    );
}
