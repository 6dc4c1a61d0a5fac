//! The path of a message, seen from its sockets.

use chat_events::{ClientId, Code, ConversationId, Event, SendRefused, limits};
use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::world::{World, until};

#[tokio::test]
async fn two_people_on_two_pods_chat_and_a_third_hears_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let (one, two) = tokio::try_join!(world.pod(), world.pod())?;
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    let mut phone = world.socket(&one, &ann).await?;
    let mut laptop = world.socket(&two, &ann).await?;
    let mut peer = world.socket(&two, &bob).await?;
    let mut stranger = world.socket(&two, &eve).await?;

    let id = phone.create(conversation, "Hello, Bob 👋").await?;
    let sent = world.taken().await?;
    let Event::MessageSent(message) = &sent.event else {
        panic!("{sent:?}");
    };
    assert_eq!((message.sender_id, message.client_id), (ann.id, id));
    assert!(sent.trace.is_some());
    assert_eq!(
        phone.frame().await?,
        json!({"type": "accepted", "client_id": id})
    );

    let seq = world
        .store(conversation, &ann, id, &message.content)
        .await?;
    for socket in [&mut phone, &mut laptop, &mut peer] {
        let stored = socket.frame().await?;
        assert_eq!(stored["type"], "message.stored");
        assert_eq!(stored["seq"], seq);
        assert_eq!(stored["message"]["content"], "Hello, Bob 👋");
        assert_eq!(stored["message"]["client_id"], json!(id));
    }
    // Bob's own read comes after it, so Eve would have heard by now.
    world
        .publish(Event::MessageRefused(SendRefused {
            conversation_id: conversation,
            sender_id: eve.id,
            client_id: id,
            code: Code::Invalid,
            detail: "for Eve".into(),
        }))
        .await?;
    assert_eq!(stranger.frame().await?["detail"], "for Eve");
    Ok(())
}

#[tokio::test]
async fn what_one_socket_sends_is_published_in_order() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let mut socket = world.socket(&pod, &ann).await?;
    // Made after the snapshot: the first frame makes the pod ask for its members.
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    for number in 0..100 {
        socket.create(conversation, &number.to_string()).await?;
    }
    for number in 0..100 {
        let Event::MessageSent(sent) = world.taken().await?.event else {
            panic!("something else");
        };
        assert_eq!(sent.content, number.to_string());
        assert_eq!(socket.frame().await?["type"], "accepted");
    }
    Ok(())
}

#[tokio::test]
async fn a_stranger_is_refused_and_nothing_reaches_the_broker() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    let mut stranger = world.socket(&pod, &eve).await?;
    let mut member = None;
    // First the pod does not know the conversation, then it does.
    for _ in 0..2 {
        for unknown in [conversation, ConversationId::generate()] {
            let id = stranger.create(unknown, "let me in").await?;
            let refused = stranger.frame().await?;
            assert_eq!(refused["type"], "refused");
            assert_eq!(refused["code"], "not_found");
            assert_eq!(refused["client_id"], json!(id));
            let frame = json!({"type": "message.read", "conversation_id": unknown, "up_to": 1});
            stranger.say(frame).await?;
            assert_eq!(stranger.frame().await?["code"], "not_found");
            let frame = json!({"type": "resume", "conversation_id": unknown, "after": 0});
            stranger.say(frame).await?;
            assert_eq!(stranger.frame().await?["type"], "resync");
        }
        member = Some(world.socket(&pod, &ann).await?);
    }
    assert!(world.nothing_was_taken().await);
    drop(member);
    Ok(())
}

#[tokio::test]
async fn while_messages_is_away_an_unknown_conversation_has_to_wait() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let known = world.neighbours.conversation(&[&ann, &bob]);
    let mut socket = world.socket(&pod, &ann).await?;
    world.neighbours.known().messages_away = true;
    let id = socket.create(ConversationId::generate(), "hello?").await?;
    let error = socket.frame().await?;
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("error"), &json!("unavailable"))
    );
    assert_eq!(error["client_id"], json!(id));
    // A known one does not need it.
    let id = socket.create(known, "hello!").await?;
    assert_eq!(
        socket.frame().await?,
        json!({"type": "accepted", "client_id": id})
    );
    Ok(())
}

#[tokio::test]
async fn hello_names_every_conversation_and_resume_brings_what_was_missed() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    for number in 1..=3 {
        let content = format!("message {number}");
        world
            .store(conversation, &bob, ClientId::generate(), &content)
            .await?;
    }
    let token = world.neighbours.token(&ann)?;
    let mut socket = crate::socket::Socket::open(
        &pod.url,
        "/ws/chat",
        Some(&token),
        Some(crate::world::ORIGIN),
    )
    .await
    .map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    let hello = socket.frame().await?;
    assert_eq!(hello["user_id"], json!(ann.id));
    assert_eq!(hello["epoch"], "test");
    assert!(hello["heartbeat_seconds"].as_u64() <= Some(limits::HEARTBEAT.as_secs()));
    assert_eq!(
        hello["positions"],
        json!([{"conversation_id": conversation, "seq": 3}])
    );
    socket
        .say(json!({"type": "resume", "conversation_id": conversation, "after": 1}))
        .await?;
    let resumed = socket.await_frame("resumed").await?;
    assert_eq!(resumed["complete"], true);
    assert_eq!(resumed["events"][0]["seq"], 2);
    assert_eq!(resumed["events"][1]["message"]["content"], "message 3");
    // More than there is: the client remembers another database.
    socket
        .say(json!({"type": "resume", "conversation_id": conversation, "after": 9}))
        .await?;
    assert_eq!(
        socket.await_frame("resync").await?,
        json!({"type": "resync", "conversation_id": conversation})
    );
    Ok(())
}

#[tokio::test]
async fn typing_and_reads_go_their_way() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    let mut writer = world.socket(&pod, &ann).await?;
    let mut reader = world.socket(&pod, &bob).await?;
    for _ in 0..3 {
        writer
            .say(json!({"type": "typing", "conversation_id": conversation, "active": true}))
            .await?;
    }
    writer
        .say(json!({"type": "message.read", "conversation_id": conversation, "up_to": 7}))
        .await?;
    let Event::MessageRead(read) = world.taken().await?.event else {
        panic!("something else");
    };
    assert_eq!(
        (read.conversation_id, read.user_id, read.up_to),
        (conversation, ann.id, 7)
    );
    let typing = json!({"type": "typing", "conversation_id": conversation, "user_id": ann.id, "active": true});
    assert_eq!(reader.frame().await?, typing);
    // The connection breaks: the next that Bob hears is that it is over.
    drop(writer);
    let over = json!({"type": "typing", "conversation_id": conversation, "user_id": ann.id, "active": false});
    assert_eq!(reader.frame().await?, over);
    Ok(())
}

#[tokio::test]
async fn a_frame_of_sixteen_kibibytes_passes_and_one_byte_more_closes() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    let mut socket = world.socket(&pod, &ann).await?;
    let frame = |size: usize| {
        let frame = json!({
            "type": "message.create",
            "client_id": ClientId::generate(),
            "conversation_id": conversation,
            "content": "🙂".repeat(limits::CONTENT_CHARS),
        });
        // White space between tokens is part of the frame.
        let text = frame.to_string();
        format!("{}{text}", " ".repeat(size - text.len()))
    };
    socket
        .stream
        .send(Message::text(frame(limits::FRAME)))
        .await?;
    assert_eq!(socket.frame().await?["type"], "accepted");
    socket
        .stream
        .send(Message::text(frame(limits::FRAME + 1)))
        .await?;
    assert_eq!(socket.close_code().await?, 1009);
    Ok(())
}

#[tokio::test]
async fn many_fragments_do_not_get_around_the_size_limit() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let ann = world.neighbours.person("ann");
    let mut socket = world.socket(&pod, &ann).await?;
    for part in 0..5 {
        let code = if part == 0 {
            Data::Text
        } else {
            Data::Continue
        };
        let frame = Frame::message(vec![b' '; 4 * 1024], OpCode::Data(code), false);
        // The server may have closed already.
        let _ = socket.stream.send(Message::Frame(frame)).await;
    }
    assert_eq!(socket.close_code().await?, 1009);
    Ok(())
}

#[tokio::test]
async fn bad_frames_are_answered_and_publish_nothing() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    let mut socket = world.socket(&pod, &ann).await?;
    for bad in [
        Message::text("{\"type\":"),
        Message::binary(b"{}".to_vec()),
        Message::text(
            json!({"type": "message.create", "conversation_id": conversation, "content": "x"})
                .to_string(),
        ),
    ] {
        socket.stream.send(bad).await?;
        assert_eq!(socket.frame().await?["code"], "invalid_frame");
    }
    for bad in ["", "nul \0", &"x".repeat(limits::CONTENT_CHARS + 1)] {
        socket.create(conversation, bad).await?;
        let refused = socket.frame().await?;
        assert_eq!(
            (&refused["type"], &refused["code"]),
            (&json!("refused"), &json!("invalid"))
        );
    }
    assert!(world.nothing_was_taken().await);
    assert_eq!(
        pod.metric("chat_socket_frames_total{direction=\"in\",type=\"invalid\"}")
            .await,
        Some(6.0)
    );
    let invalid = Frame::message(vec![0xc3, 0x28], OpCode::Data(Data::Text), true);
    socket.stream.send(Message::Frame(invalid)).await?;
    assert_eq!(socket.close_code().await?, 1007);
    Ok(())
}

#[tokio::test]
async fn a_flood_of_frames_is_throttled_and_then_closed() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let mut socket = world.socket(&pod, &world.neighbours.person("ann")).await?;
    for _ in 0..limits::FRAMES_PER_WINDOW {
        socket.say(json!(null)).await?;
        assert_eq!(socket.frame().await?["code"], "invalid_frame");
    }
    socket.say(json!(null)).await?;
    assert_eq!(socket.frame().await?["code"], "throttled");
    for _ in 0..100 {
        if socket.say(json!(null)).await.is_err() {
            break;
        }
    }
    assert_eq!(socket.close_code().await?, 1008);
    Ok(())
}

#[tokio::test]
async fn heartbeats_come_with_positions_and_a_silent_peer_is_dropped() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod_with(&[("HEARTBEAT_SECONDS", "1")]).await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    let mut socket = world.socket(&pod, &ann).await?;
    // Never polled again, so nothing answers its pings.
    let silent = world.socket(&pod, &bob).await?;
    let mut named = Vec::new();
    for _ in 0..4 {
        let heartbeat = socket.await_frame("heartbeat").await?;
        named.push(heartbeat["positions"].as_array().map_or(0, Vec::len));
    }
    assert_eq!(named, [0, 0, 0, 1], "every fourth names all");
    world
        .store(conversation, &bob, ClientId::generate(), "new")
        .await?;
    socket.await_frame("message.stored").await?;
    let heartbeat = socket.await_frame("heartbeat").await?;
    let expected = json!([{"conversation_id": conversation, "seq": 1}]);
    assert_eq!(heartbeat["positions"], expected);
    until("the silent peer is dropped", async || {
        let _ = futures::FutureExt::now_or_never(socket.stream.next());
        pod.metric("chat_sockets_closed_total{code=\"silent\"}")
            .await
            == Some(1.0)
    })
    .await?;
    assert_eq!(pod.metric("chat_sockets{kind=\"chat\"}").await, Some(1.0));
    drop(silent);
    Ok(())
}
