//! Read marks and unread counts.

use chat_events::LogEvent;
use serde_json::json;

use crate::stage::{Stage, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_an_entry_of_the_log_that_both_see() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    assert_eq!(stage.say(conversation, &anna, "one").await, 1);
    stage.read(conversation, &ben, 1).await;
    let log = until("the read is heard", async || {
        let entries = stage.heard.entries(conversation);
        (entries.len() == 2).then_some(entries)
    })
    .await;
    let LogEvent::Read {
        seq,
        user_id,
        up_to,
        ..
    } = log[1]
    else {
        panic!("{:?}", log[1]);
    };
    assert_eq!((seq, user_id, up_to), (2, ben.id, 1));
    // The next message goes on after it.
    assert_eq!(stage.say(conversation, &anna, "two").await, 3);
    let whole = stage.log(&replica, &anna, conversation).await;
    assert_eq!(whole[..2], log[..]);
    let path = format!("/api/messages?conversation={conversation}");
    let page = stage.get(&replica, &anna, &path).await.assert(200);
    let marks = page["reads"].as_array().expect("marks");
    assert!(marks.contains(&json!({ "user_id": ben.id, "up_to": 1 })));
    assert!(marks.contains(&json!({ "user_id": anna.id, "up_to": 0 })));
    let path = format!("/api/conversations/{conversation}");
    let seen = stage.get(&replica, &anna, &path).await.assert(200);
    assert_eq!(
        (&seen["peer_read_up_to"], &seen["read_up_to"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_mark_never_falls_and_never_passes_the_log() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    let eve = stage.person("eve").await;
    for n in 1..=3 {
        assert_eq!(stage.say(conversation, &anna, "text").await, n);
    }
    for (reader, up_to) in [
        (&ben, 2),
        (&ben, 1),
        (&ben, -5),
        (&ben, 2),
        (&eve, 3),
        (&ben, i64::MAX),
    ] {
        stage.read(conversation, reader, up_to).await;
    }
    // Reads and sends of a conversation share a queue, so this is the last.
    let last = stage.say(conversation, &anna, "after the reads").await;
    let marks: Vec<(i64, i64)> = stage
        .log(&replica, &anna, conversation)
        .await
        .iter()
        .filter_map(|entry| match entry {
            LogEvent::Read {
                seq,
                up_to,
                user_id,
                ..
            } => {
                assert_eq!(*user_id, ben.id);
                Some((*seq, *up_to))
            }
            LogEvent::Message { .. } => None,
        })
        .collect();
    // Two lanes of the publisher: sends and reads are only ordered by their confirms.
    assert_eq!(marks, [(4, 2), (5, 3)]);
    assert_eq!(last, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_is_what_others_wrote_after_the_mark() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    for text in ["one", "two", "three"] {
        stage.say(conversation, &anna, text).await;
    }
    stage.say(conversation, &ben, "mine does not count").await;
    let unread = async |person| {
        let list = stage
            .get(&replica, person, "/api/conversations")
            .await
            .assert(200);
        list["conversations"][0]["unread"].as_i64()
    };
    assert_eq!(unread(&ben).await, Some(3));
    assert_eq!(unread(&anna).await, Some(1));
    stage.read(conversation, &ben, 2).await;
    until("the count falls", async || {
        (unread(&ben).await == Some(1)).then_some(())
    })
    .await;
    stage.read(conversation, &ben, 4).await;
    until("the count falls", async || {
        (unread(&ben).await == Some(0)).then_some(())
    })
    .await;
    // A recount from the tables gives the same.
    let recount = stage
        .count(
            "select count(*) from members r join messages m using (conversation_id)
             where m.seq > r.read_up_to and m.sender_id <> r.user_id",
        )
        .await;
    assert_eq!(Some(recount), unread(&anna).await);
}
