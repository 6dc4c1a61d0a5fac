//! What becomes of a send.

use chat_events::{ClientId, Code, ConversationId, Event, LogEvent, MessageSent, Recorded};
use futures::future::join_all;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_stored_heard_by_both_and_in_the_history() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    let client_id = stage
        .send(conversation, &anna, "hello Ben 🙂\n\tline two")
        .await;
    let message = stage.heard.stored(client_id).await;
    assert_eq!((message.seq, message.sender_id), (1, anna.id));
    assert_eq!(message.content, "hello Ben 🙂\n\tline two");
    let members = stage
        .heard
        .all()
        .into_iter()
        .find_map(|recorded| match recorded.event {
            Event::MessageStored { members, .. } => Some(members),
            _ => None,
        });
    let mut both = vec![anna.id, ben.id];
    both.sort();
    assert_eq!(members, Some(both));
    for person in [&anna, &ben] {
        let path = format!("/api/messages?conversation={conversation}");
        let page = stage.get(&replica, person, &path).await.assert(200);
        assert_eq!(page["messages"], serde_json::json!([message]));
        let log = stage.log(&replica, person, conversation).await;
        assert_eq!(log.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_sends_are_stored_once_in_the_order_of_each_sender_without_a_gap() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    let sends = (0..1_000).map(|n| {
        let sender = if n % 2 == 0 { &anna } else { &ben };
        let event = Event::MessageSent(MessageSent {
            conversation_id: conversation,
            sender_id: sender.id,
            client_id: ClientId::generate(),
            content: n.to_string(),
        });
        stage
            .publisher
            .enqueue(Recorded::new(event, None))
            .expect("room in the queue")
    });
    for confirmed in join_all(sends.collect::<Vec<_>>()).await {
        confirmed.expect("a confirm");
    }
    let entries = crate::stage::until("all are stored", async || {
        let entries = stage.heard.entries(conversation);
        (entries.len() >= 1_000).then_some(entries)
    })
    .await;
    let contents: Vec<String> = entries
        .iter()
        .enumerate()
        .map(|(at, entry)| match entry {
            LogEvent::Message { seq, message, .. } => {
                assert_eq!(*seq, at as i64 + 1);
                message.content.clone()
            }
            LogEvent::Read { .. } => panic!("nobody read"),
        })
        .collect();
    // One publisher, one conversation: the order of sending is the order.
    let sent: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    assert_eq!(contents, sent);
    assert_eq!(stage.log(&replica, &anna, conversation).await, entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_send_again_is_one_row_with_the_same_answer() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, _, conversation) = stage.pair(&replica).await;
    let client_id = stage.send(conversation, &anna, "once").await;
    let first = stage.heard.stored(client_id).await;
    stage.say(conversation, &anna, "another").await;
    for _ in 0..3 {
        stage.send_as(conversation, &anna, "once", client_id).await;
    }
    let answers = crate::stage::until("every repeat is answered", async || {
        let answers = stage.heard.stored_all(client_id);
        (answers.len() == 4).then_some(answers)
    })
    .await;
    assert!(answers.iter().all(|answer| *answer == first), "{answers:?}");
    assert_eq!(stage.count("select count(*) from messages").await, 2);
    assert_eq!(stage.count("select last_seq from conversations").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_client_id_with_other_words_is_refused_as_a_conflict() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, ben, conversation) = stage.pair(&replica).await;
    let client_id = stage.send(conversation, &anna, "yes").await;
    stage.heard.stored(client_id).await;
    stage.send_as(conversation, &anna, "no", client_id).await;
    let refused = stage.heard.refused(client_id).await;
    assert_eq!((refused.code, refused.sender_id), (Code::Conflict, anna.id));
    // The id belongs to its sender alone.
    stage.send_as(conversation, &ben, "no", client_id).await;
    crate::stage::until("the other sender's message is stored", async || {
        (stage.heard.stored_all(client_id).len() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_and_a_bad_text_are_refused_and_leave_no_row() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, _, conversation) = stage.pair(&replica).await;
    let eve = stage.person("eve").await;
    let too_long = "x".repeat(4_001);
    for (to, sender, content, code) in [
        (conversation, &eve, "let me in", Code::NotFound),
        (
            ConversationId::generate(),
            &anna,
            "anybody?",
            Code::NotFound,
        ),
        (conversation, &anna, "", Code::Invalid),
        (conversation, &anna, too_long.as_str(), Code::Invalid),
        (conversation, &anna, "nul \0", Code::Invalid),
        (conversation, &anna, "escape \u{1b}[31m", Code::Invalid),
    ] {
        let client_id = stage.send(to, sender, content).await;
        let refused = stage.heard.refused(client_id).await;
        assert_eq!(refused.code, code, "{content:?}");
        assert_eq!(
            (refused.conversation_id, refused.sender_id),
            (to, sender.id)
        );
    }
    assert_eq!(stage.count("select count(*) from messages").await, 0);
    let longest = "🙂".repeat(4_000);
    assert_eq!(stage.say(conversation, &anna, &longest).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_stored_carries_the_trace_of_its_send() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, _, conversation) = stage.pair(&replica).await;
    let trace = chat_kit::trace::start();
    let client_id = ClientId::generate();
    let event = Event::MessageSent(MessageSent {
        conversation_id: conversation,
        sender_id: anna.id,
        client_id,
        content: "traced".into(),
    });
    let send = Recorded::new(event, Some(trace.clone()));
    stage.publisher.publish(send).await.expect("a confirm");
    stage.heard.stored(client_id).await;
    let stored = stage
        .heard
        .all()
        .into_iter()
        .find(|recorded| matches!(recorded.event, Event::MessageStored { .. }))
        .expect("message.stored");
    assert_eq!(stored.trace, Some(trace));
}
