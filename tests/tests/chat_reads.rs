//! Read marks, unread counts and typing.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::{Chat, ChatClient, ChatSocket, await_until};
use chat_events::{ClientFrame, Code, LogEvent, ServerFrame};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn sender_sees_read_after_the_peer_views_it_also_if_offline_then_reader_cannot_alter_text()
-> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let sender = ChatClient::start(&ada);
    sender.send(conversation, "read me");
    sender.await_outbox_empty(SOON).await?;
    sender.go_offline();
    sender
        .await_state("offline", SOON, |state| (!state.connected).then_some(()))
        .await?;
    let mut reader = ChatSocket::open(&ben).await?;
    // A read has no text: one with a text is refused as a frame.
    reader
        .send_text(
            &json!({ "type": "message.read", "conversation_id": conversation, "up_to": 1, "content": "altered" })
                .to_string(),
        )
        .await?;
    ensure!(reader.await_error().await? == Code::InvalidFrame);
    reader
        .send(&ClientFrame::MessageRead {
            conversation_id: conversation,
            up_to: 1,
        })
        .await?;
    reader
        .await_frame("the read mark", SOON, |frame| match frame {
            ServerFrame::Log(LogEvent::Read { user_id, up_to, .. }) => {
                (*user_id == ben.id && *up_to == 1).then_some(())
            }
            _ => None,
        })
        .await?;
    sender.go_online();
    sender
        .await_state("the read mark after the return", SOON, |state| {
            (state.logs.get(&conversation)?.read_up_to(ben.id) == 1).then_some(())
        })
        .await?;
    ensure!(sender.texts(conversation) == ["read me"]);
    let shown = ada.conversation(conversation).await?;
    ensure!(shown["peer_read_up_to"] == 1, "{shown}");
    sender.stop().await
}

#[tokio::test]
async fn a_read_mark_never_falls_and_never_passes_the_last_message() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let (sender, reader) = (ChatClient::start(&ada), ChatClient::start(&ben));
    for text in ["one", "two", "three"] {
        sender.send(conversation, text);
    }
    sender.await_outbox_empty(SOON).await?;
    reader.await_texts(conversation, 3, SOON).await?;
    reader.read(conversation, 3);
    sender
        .await_state("read up to 3", SOON, |state| {
            (state.logs.get(&conversation)?.read_up_to(ben.id) == 3).then_some(())
        })
        .await?;
    let mut socket = ChatSocket::open(&ben).await?;
    for up_to in [1, 1_000_000, -5] {
        socket
            .send(&ClientFrame::MessageRead {
                conversation_id: conversation,
                up_to,
            })
            .await?;
    }
    // A message after them shows that they were handled.
    let marker = socket.say(conversation, "marker").await?;
    socket.await_stored(marker).await?;
    let shown = ben.conversation(conversation).await?;
    let (mark, top) = (shown["read_up_to"].as_i64(), shown["seq"].as_i64());
    ensure!(mark >= Some(3) && mark <= top, "{shown}");
    sender.stop().await?;
    reader.stop().await
}

#[tokio::test]
async fn count_equals_unread_messages_after_reload_and_on_a_second_device() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let sender = ChatClient::start(&ada);
    for number in 0..5 {
        sender.send(conversation, &format!("message {number}"));
    }
    sender.await_outbox_empty(SOON).await?;
    let second = ben.sign_in_elsewhere().await?;
    for device in [&ben, &second] {
        let shown = device.conversation(conversation).await?;
        ensure!(shown["unread"] == 5, "{shown}");
    }
    let reader = ChatClient::start(&ben);
    reader.await_texts(conversation, 5, SOON).await?;
    reader.read(conversation, 3);
    for device in [&second, &ben] {
        await_until("two unread", SOON, async || {
            let shown = device.conversation(conversation).await?;
            Ok((shown["unread"] == 2).then_some(()))
        })
        .await?;
    }
    // One's own messages are never unread.
    let own = ada.conversation(conversation).await?;
    ensure!(own["unread"] == 0, "{own}");
    sender.stop().await?;
    reader.stop().await
}

#[tokio::test]
async fn typing_appears_in_under_1_s_and_clears_on_stop_or_disconnect() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let (mut a, mut b) = (ChatSocket::open(&ada).await?, ChatSocket::open(&ben).await?);
    for active in [true, false] {
        a.send(&ClientFrame::Typing {
            conversation_id: conversation,
            active,
        })
        .await?;
        b.await_typing(ada.id, active, Duration::from_secs(1))
            .await?;
    }
    let mut again = ChatSocket::open(&ada).await?;
    again
        .send(&ClientFrame::Typing {
            conversation_id: conversation,
            active: true,
        })
        .await?;
    b.await_typing(ada.id, true, SOON).await?;
    again.close().await?;
    b.await_typing(ada.id, false, SOON).await?;
    // Typing is never part of the log.
    ensure!(ben.conversation(conversation).await?["seq"] == 0);
    Ok(())
}
