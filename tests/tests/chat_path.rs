//! The whole path of a message, as two API clients see it.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::{Chat, ChatClient, ChatSocket, Person, await_until};
use chat_events::{ClientFrame, ClientId, Code, ConversationId, LogEvent, ServerFrame};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn sign_up_sign_in_chat_read_and_history() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    ada.sign_out().await?;
    ada.sign_in().await?;
    let (one, two) = (ChatClient::start(&ada), ChatClient::start(&ben));
    two.await_connected().await?;
    one.send(conversation, "Hello Ben");
    two.await_texts(conversation, 1, SOON).await?;
    two.send(conversation, "Hello Ada");
    one.await_texts(conversation, 2, SOON).await?;
    let seen = one.state().top(conversation);
    one.read(conversation, seen);
    two.await_state("the read mark", SOON, |state| {
        let log = state.logs.get(&conversation)?;
        (log.read_up_to(ada.id) == seen).then_some(())
    })
    .await?;
    let texts = ["Hello Ben", "Hello Ada"];
    for (person, client) in [(&ada, &one), (&ben, &two)] {
        ensure!(client.texts(conversation) == texts);
        ensure!(person.texts(conversation).await? == texts);
        ensure!(client.state().violations().is_empty());
    }
    one.stop().await?;
    two.stop().await
}

#[tokio::test]
async fn both_sides_see_the_message_live_and_after_reload_a_third_user_cannot() -> anyhow::Result<()>
{
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let eve = Person::sign_up(&chat.site, "eve").await?;
    let (mut a, mut b) = (ChatSocket::open(&ada).await?, ChatSocket::open(&ben).await?);
    let mut e = ChatSocket::open(&eve).await?;
    let sent = a.say(conversation, "only for Ben").await?;
    for socket in [&mut a, &mut b] {
        socket.await_stored(sent).await?;
    }
    ensure!(ada.texts(conversation).await? == ["only for Ben"]);
    ensure!(ben.texts(conversation).await? == ["only for Ben"]);
    // Her own message comes after Ada's would have come.
    let own = eve.conversation_with(&ada).await?;
    let marker = e.say(own, "a marker").await?;
    let until = e
        .await_frame("the marker", SOON, |frame| match frame {
            ServerFrame::Log(event) => Some(event.clone()),
            _ => None,
        })
        .await?;
    ensure!(
        matches!(until, LogEvent::Message { message, .. } if message.client_id == marker),
        "a stranger saw a message of others"
    );
    eve.get(&format!("/api/messages?conversation={conversation}"))
        .await?
        .expect_problem(404, "not_found")
}

#[tokio::test]
async fn sender_sees_sent_only_after_durable_storage_or_broker_confirm() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, _, conversation) = chat.two_people().await?;
    let mut socket = ChatSocket::open(&ada).await?;
    let sent = socket.say(conversation, "is it safe?").await?;
    // `accepted` comes first: the stored event starts only from the confirmed send.
    let answer = socket
        .await_frame("an answer", SOON, |frame| match frame {
            ServerFrame::Accepted { client_id } => Some(*client_id == sent),
            ServerFrame::Log(_) => Some(true),
            ServerFrame::Error { .. } | ServerFrame::Refused { .. } => Some(false),
            _ => None,
        })
        .await?;
    ensure!(answer, "the send was not accepted");
    await_until("the message in history", SOON, async || {
        let texts = ada.texts(conversation).await?;
        Ok((texts == ["is it safe?"]).then_some(()))
    })
    .await
}

#[tokio::test]
async fn server_sets_sender_id_and_time_empty_or_oversized_is_refused_with_a_reason()
-> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let mut socket = ChatSocket::open(&ada).await?;
    let before = jiff::Timestamp::now();
    let sent = socket.say(conversation, "who am I?").await?;
    let message = socket.await_stored(sent).await?;
    ensure!(message.sender_id == ada.id && message.client_id == sent && message.seq == 1);
    // Clocks of the database and of this process are the same machine's.
    ensure!(message.created_at >= before - Duration::from_secs(5));
    for (field, value) in [
        ("sender_id", json!(ben.id)),
        ("seq", json!(7)),
        ("created_at", json!("2001-01-01T00:00:00Z")),
    ] {
        let mut frame = create(conversation, "forged");
        frame[field] = value;
        socket.send_text(&frame.to_string()).await?;
        let code = socket.await_error().await?;
        ensure!(code == Code::InvalidFrame, "{field}: {code:?}");
    }
    let longest = "ü".repeat(4_000);
    let sent = socket.say(conversation, &longest).await?;
    ensure!(socket.await_stored(sent).await?.content == longest);
    for bad in [String::new(), "ü".repeat(4_001)] {
        socket
            .send_text(&create(conversation, &bad).to_string())
            .await?;
        let code = socket.await_error().await?;
        ensure!(
            matches!(code, Code::Invalid | Code::TooLarge),
            "{} characters: {code:?}",
            bad.chars().count()
        );
    }
    ensure!(ada.history(conversation).await?.len() == 2);
    Ok(())
}

#[tokio::test]
async fn same_key_twice_creates_one_message() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let mut first = ChatSocket::open(&ada).await?;
    let client_id = first.say(conversation, "once").await?;
    let message = first.await_stored(client_id).await?;
    // Again on the same socket and on another one.
    let mut second = ChatSocket::open(&ada).await?;
    let again = ClientFrame::MessageCreate {
        client_id,
        conversation_id: conversation,
        content: "once".into(),
    };
    for socket in [&mut first, &mut second] {
        socket.send(&again).await?;
        let answer = socket.await_stored(client_id).await?;
        ensure!(answer == message, "{answer:?} is not {message:?}");
    }
    // The same key with another text is a conflict, and changes nothing.
    first
        .send(&ClientFrame::MessageCreate {
            client_id,
            conversation_id: conversation,
            content: "twice".into(),
        })
        .await?;
    let code = first
        .await_frame("a refusal", SOON, |frame| match frame {
            ServerFrame::Refused {
                client_id: refused,
                code,
                ..
            } if *refused == client_id => Some(*code),
            _ => None,
        })
        .await?;
    ensure!(code == Code::Conflict, "{code:?}");
    ensure!(ben.texts(conversation).await? == ["once"]);
    Ok(())
}

#[tokio::test]
async fn same_order_in_both_clients_and_in_history() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let (one, two) = (ChatClient::start(&ada), ChatClient::start(&ben));
    one.await_connected().await?;
    two.await_connected().await?;
    for number in 0..40 {
        one.send(conversation, &format!("ada {number}"));
        two.send(conversation, &format!("ben {number}"));
    }
    let seen = one.await_texts(conversation, 80, SOON * 3).await?;
    let others = two.await_texts(conversation, 80, SOON * 3).await?;
    ensure!(seen == others, "{seen:?} is not {others:?}");
    ensure!(seen == ada.texts(conversation).await?);
    ensure!(seen == ben.texts(conversation).await?);
    // What one person said stays in the order in which it was said.
    for name in ["ada", "ben"] {
        let said: Vec<_> = seen.iter().filter(|text| text.starts_with(name)).collect();
        let wanted: Vec<_> = (0..40).map(|number| format!("{name} {number}")).collect();
        ensure!(said.into_iter().eq(wanted.iter()), "{name}: {seen:?}");
    }
    for (client, person) in [(one, &ada), (two, &ben)] {
        ensure!(client.state().violations().is_empty());
        let seqs: Vec<_> = person
            .history(conversation)
            .await?
            .into_iter()
            .map(|message| message.seq)
            .collect();
        ensure!(seqs.iter().copied().eq(1..=80), "{seqs:?}");
        client.stop().await?;
    }
    Ok(())
}

fn create(conversation: ConversationId, content: &str) -> Value {
    json!({
        "type": "message.create",
        "client_id": ClientId::generate(),
        "conversation_id": conversation,
        "content": content,
    })
}
