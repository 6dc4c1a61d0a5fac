//! Making and listing conversations.

use std::collections::HashSet;

use chat_events::{Event, UserId, UserRef};
use serde_json::json;
use uuid::Uuid;

use crate::stage::{Stage, id_of, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_has_one_conversation_whoever_starts_and_however_often() {
    let (stage, replica) = Stage::with_replica().await;
    let two = stage.replica("two").await;
    for round in 0..10 {
        let anna = stage.person(&format!("anna{round}")).await;
        let ben = stage.person(&format!("ben{round}")).await;
        let (to_ben, to_anna) = (json!({ "user_id": ben.id }), json!({ "user_id": anna.id }));
        let path = "/api/conversations";
        let answers = tokio::join!(
            stage.post(&replica, &anna, path, &to_ben),
            stage.post(&two, &ben, path, &to_anna),
            stage.post(&two, &anna, path, &to_ben),
            stage.post(&replica, &ben, path, &to_anna),
        );
        let answers = [answers.0, answers.1, answers.2, answers.3];
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        let found = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((created, found), (1, 3), "{answers:?}");
        let ids: HashSet<_> = answers.iter().map(|answer| id_of(&answer.body)).collect();
        assert_eq!(ids.len(), 1);
        let id = ids.into_iter().next().expect("one");
        let heard = until("conversation.created is heard", async || {
            stage
                .heard
                .all()
                .into_iter()
                .find_map(|recorded| match recorded.event {
                    Event::ConversationCreated(created) if created.conversation_id == id => {
                        Some(created)
                    }
                    _ => None,
                })
        })
        .await;
        let members: HashSet<_> = heard.members.iter().map(|member| member.user_id).collect();
        assert_eq!(members, HashSet::from([anna.id, ben.id]));
        assert!(
            heard
                .members
                .iter()
                .all(|member| !member.username.is_empty())
        );
    }
    assert_eq!(stage.count("select count(*) from conversations").await, 10);
    assert_eq!(stage.count("select count(*) from members").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_talk_to_nobody_or_to_themselves() {
    let (stage, replica) = Stage::with_replica().await;
    let anna = stage.person("anna").await;
    let gone = stage.person("gone").await;
    stage.publish(Event::UserDeleted { user_id: gone.id }).await;
    until("the deletion is known", async || {
        (stage
            .count("select count(*) from people where deleted")
            .await
            == 1)
            .then_some(())
    })
    .await;
    // A late event does not bring the person back.
    let late = UserRef {
        user_id: gone.id,
        username: "gone".into(),
        display_name: "Back".into(),
        version: 99,
    };
    stage.publish(Event::UserUpdated(late)).await;
    stage.person("behind the update").await;
    let start = async |user_id: UserId| {
        let body = json!({ "user_id": user_id });
        stage
            .post(&replica, &anna, "/api/conversations", &body)
            .await
    };
    start(UserId::generate())
        .await
        .assert_problem(404, "not_found");
    start(gone.id).await.assert_problem(404, "not_found");
    let own = start(anna.id).await.assert_problem(400, "invalid");
    assert_eq!(own["errors"][0]["field"], "user_id");
    assert_eq!(stage.count("select count(*) from conversations").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_of_whom_messages_has_not_heard_yet_can_start_a_conversation() {
    let (stage, replica) = Stage::with_replica().await;
    let ben = stage.person("ben").await;
    let anna = stage.guest(UserId::generate(), "anna");
    let conversation = stage.open(&replica, &anna, &ben).await;
    let path = format!("/api/conversations/{conversation}");
    let member = async || {
        let seen = stage.get(&replica, &ben, &path).await.assert(200);
        let members = seen["members"].as_array().cloned().unwrap_or_default();
        members
            .into_iter()
            .find(|member| member["user_id"] == json!(anna.id))
            .expect("anna")
    };
    assert_eq!(member().await["username"], "anna");
    let registered = UserRef {
        user_id: anna.id,
        username: "anna".into(),
        display_name: "Anna A.".into(),
        version: 1,
    };
    stage.publish(Event::UserRegistered(registered)).await;
    until("her name is known", async || {
        (member().await["display_name"] == "Anna A.").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_has_every_conversation_once_by_activity_with_its_last_message() {
    let (stage, replica) = Stage::with_replica().await;
    let anna = stage.person("anna").await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let peer = stage.person(&format!("peer{n}")).await;
        let id = stage.open(&replica, &anna, &peer).await;
        stage.say(id, &peer, &format!("message {n}")).await;
        ids.push(id);
    }
    stage.say(ids[2], &anna, "up again").await;
    let mut listed = Vec::new();
    let mut path = "/api/conversations?limit=3".to_owned();
    loop {
        let page = stage.get(&replica, &anna, &path).await.assert(200);
        listed.extend(page["conversations"].as_array().cloned().expect("a list"));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/conversations?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    let order: Vec<_> = listed.iter().map(id_of).collect();
    let expected = [2, 6, 5, 4, 3, 1, 0].map(|n: usize| ids[n]);
    assert_eq!(order, expected);
    assert_eq!(listed[0]["last_message"]["content"], "up again");
    assert_eq!(listed[1]["last_message"]["content"], "message 6");
    assert_eq!(
        (&listed[1]["unread"], &listed[1]["seq"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(listed[1]["members"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_name_the_epoch_and_the_top_of_every_log() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    let positions = async |person| {
        stage
            .get(&replica, person, "/api/conversations/positions")
            .await
            .assert(200)
    };
    stage.say(conversation, &anna, "one").await;
    let seen = positions(&anna).await;
    let position = &seen["positions"][0];
    assert_eq!(
        (&position["conversation_id"], &position["seq"]),
        (&json!(conversation), &json!(1))
    );
    let members = position["members"].as_array().expect("members");
    assert!(members.contains(&json!(anna.id)) && members.contains(&json!(ben.id)));
    let eve = stage.guest(UserId::generate(), "eve");
    let nothing = positions(&eve).await;
    assert_eq!(nothing["positions"], json!([]));
    assert_eq!(nothing["epoch"], seen["epoch"]);
    assert!(
        seen["epoch"]
            .as_str()
            .is_some_and(|epoch| epoch.len() == 32)
    );
    // As after a restored backup.
    sqlx::query("update epoch set value = 'another'")
        .execute(&stage.pool)
        .await
        .expect("an update");
    assert_ne!(positions(&anna).await["epoch"], seen["epoch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_finds_nothing_anywhere() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, _, conversation) = stage.pair(&replica).await;
    stage.say(conversation, &anna, "secret").await;
    let eve = stage.person("eve").await;
    for path in [
        format!("/api/conversations/{conversation}"),
        format!("/api/messages?conversation={conversation}"),
        format!("/api/messages?conversation={conversation}&before=9"),
        format!("/api/messages?conversation={conversation}&after=0"),
        format!("/api/messages?conversation={conversation}&around=1"),
        format!("/api/messages/events?conversation={conversation}&after=0"),
    ] {
        // A member's page must not open it to others through the cache.
        stage.get(&replica, &anna, &path).await.assert(200);
        let refused = stage
            .get(&replica, &eve, &path)
            .await
            .assert_problem(404, "not_found");
        // The same answer as for what does not exist.
        let other = path.replace(&conversation.to_string(), &Uuid::now_v7().to_string());
        let absent = stage
            .get(&replica, &eve, &other)
            .await
            .assert_problem(404, "not_found");
        assert_eq!(refused["detail"], absent["detail"]);
    }
    let list = stage
        .get(&replica, &eve, "/api/conversations")
        .await
        .assert(200);
    assert_eq!(list["conversations"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_in_more_conversations_than_a_hello_can_hold() {
    let (stage, replica) = Stage::with_replica().await;
    let anna = stage.person("anna").await;
    let (ben, eve) = (stage.person("ben").await, stage.person("eve").await);
    sqlx::query(
        "with made as (
             insert into conversations (id, kind, low_id, high_id, created_at, last_activity_at)
             select gen_random_uuid(), 'direct', least($1, other), greatest($1, other), now(), now()
             from (select gen_random_uuid() as other from generate_series(1, 4999)) others
             returning id
         )
         insert into members (conversation_id, user_id) select id, $1 from made",
    )
    .bind(anna.id.0)
    .execute(&stage.pool)
    .await
    .expect("many conversations");
    stage.open(&replica, &anna, &ben).await;
    for (from, with) in [(&anna, &eve), (&eve, &anna)] {
        let body = json!({ "user_id": with.id });
        stage
            .post(&replica, from, "/api/conversations", &body)
            .await
            .assert_problem(403, "forbidden");
    }
    // Those that are there go on.
    stage.open(&replica, &ben, &anna).await;
    stage.open(&replica, &eve, &ben).await;
    let path = "/api/conversations/positions";
    let seen = stage.get(&replica, &anna, path).await.assert(200);
    assert_eq!(seen["positions"].as_array().map(Vec::len), Some(5_000));
}
