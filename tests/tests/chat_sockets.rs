//! The socket itself: who may open it, how it lives, and what it refuses.

use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::socket::{CHAT, NOTIFICATIONS};
use chat_e2e::{Browser, Chat, ChatClient, ChatSocket, Incoming, Person, Refused, await_until};
use chat_events::{ClientFrame, Code, ServerFrame, close, limits};
use tokio_tungstenite::tungstenite::Message;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn unauthenticated_or_wrong_origin_upgrade_is_refused_with_401_or_403() -> anyhow::Result<()>
{
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let ours = ada.site.origin.clone();
    let guest = Browser::new(&chat.site)?;
    ensure!(refusal(&guest, CHAT, Some(&ours)).await? == 401);
    for origin in tricky_origins(&ours) {
        for path in [CHAT, NOTIFICATIONS] {
            let status = refusal(&ada, path, Some(&origin)).await?;
            ensure!(status == 403, "{path} from {origin}: {status}");
        }
    }
    for path in [CHAT, NOTIFICATIONS] {
        ensure!(
            refusal(&ada, path, None).await? == 403,
            "no origin at {path}"
        );
        ensure!(refusal(&ada, path, Some(&ours)).await? == 101, "{path}");
    }
    // Without an upgrade it is a request like any other.
    let plain = ada.get(CHAT).await?;
    ensure!((400..500).contains(&plain.status), "{plain}");
    Ok(())
}

/// Origins that are not `ours`, however alike they look.
fn tricky_origins(ours: &str) -> Vec<String> {
    let (scheme, rest) = ours.split_once("://").unwrap_or(("http", ours));
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, "80"));
    vec![
        "null".into(),
        "*".into(),
        "".into(),
        "https://evil.example".into(),
        format!("https://{rest}"),
        format!("ws://{rest}"),
        format!("{scheme}://{host}"),
        format!("{scheme}://{host}:1{port}"),
        format!("{scheme}://{host}:{port}0"),
        format!("{scheme}://{host}:080"),
        format!("{scheme}://{rest}/"),
        format!("{scheme}://{rest}/path"),
        format!("{scheme}://{rest}."),
        format!("{scheme}://{rest}.evil.example"),
        format!("{scheme}://{rest}@evil.example"),
        format!("{scheme}://evil.example:{port}"),
        format!("{scheme}://evil.example/{rest}"),
        format!("{scheme}://evil.example?{rest}"),
        format!("{scheme}://evil.example#{rest}"),
        format!("{scheme}://user@{rest}"),
        format!("{scheme}://sub.{rest}"),
        format!("{scheme}://evil{rest}"),
        format!("{scheme}://{rest},{ours}"),
        format!("{ours} {ours}"),
        format!(" {ours}x"),
        format!("{scheme}:{rest}"),
        format!("{scheme}:///{rest}"),
        format!("//{rest}"),
        rest.to_owned(),
        ours.to_uppercase(),
    ]
}

#[tokio::test]
async fn hello_comes_first_and_says_where_every_conversation_is() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let client = ChatClient::start(&ada);
    client.send(conversation, "one");
    client.send(conversation, "two");
    client.await_outbox_empty(SOON).await?;
    let mut socket = ChatSocket::open(&ben).await?;
    let Incoming::Frame(ServerFrame::Hello {
        user_id,
        positions,
        heartbeat_seconds,
        ..
    }) = socket.next(SOON).await?
    else {
        anyhow::bail!("hello was not first");
    };
    ensure!(user_id == ben.id && heartbeat_seconds <= 25);
    let known = positions
        .iter()
        .find(|position| position.conversation_id == conversation);
    ensure!(
        known.map(|position| position.seq) == Some(2),
        "{positions:?}"
    );
    socket
        .send(&ClientFrame::Resume {
            conversation_id: conversation,
            after: 1,
        })
        .await?;
    let events = socket
        .await_frame("the rest", SOON, |frame| match frame {
            ServerFrame::Resumed {
                events,
                complete: true,
                ..
            } => Some(events.clone()),
            _ => None,
        })
        .await?;
    ensure!(events.len() == 1 && events[0].seq() == 2, "{events:?}");
    client.stop().await
}

#[tokio::test]
async fn heartbeats_come_within_25_s_and_carry_the_top_of_each_conversation() -> anyhow::Result<()>
{
    let chat = Chat::shared().await?;
    let (ada, _, conversation) = chat.two_people().await?;
    let mut socket = ChatSocket::open(&ada).await?;
    let sent = socket.say(conversation, "the last one").await?;
    socket.await_stored(sent).await?;
    let limit = limits::HEARTBEAT + Duration::from_secs(2);
    let positions = socket
        .await_frame("a heartbeat", limit, |frame| match frame {
            ServerFrame::Heartbeat { positions } => Some(positions.clone()),
            _ => None,
        })
        .await?;
    let known = positions
        .iter()
        .find(|position| position.conversation_id == conversation);
    ensure!(
        known.map(|position| position.seq) == Some(1),
        "{positions:?}"
    );
    Ok(())
}

#[tokio::test]
async fn silent_peer_is_dropped_within_two_intervals() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben) = tokio::try_join!(
        Person::sign_up(&chat.site, "ada"),
        Person::sign_up(&chat.site, "ben")
    )?;
    // Kept open and never read: no ping is ever answered.
    let silent = ChatSocket::open(&ben).await?;
    await_status(&ada, &ben, "online", SOON).await?;
    let slack = Duration::from_secs(5);
    await_status(&ada, &ben, "offline", limits::HEARTBEAT * 2 + slack).await?;
    drop(silent);
    Ok(())
}

#[tokio::test]
async fn after_a_socket_kill_the_client_reconnects_with_backoff_and_shows_missed_messages()
-> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let (one, two) = (ChatClient::start(&ada), ChatClient::start(&ben));
    one.await_connected().await?;
    two.await_connected().await?;
    two.go_offline();
    two.await_state("away", SOON, |state| (!state.connected).then_some(()))
        .await?;
    for number in 0..30 {
        one.send(conversation, &format!("missed {number}"));
    }
    one.await_outbox_empty(SOON).await?;
    two.go_online();
    let seen = two.await_texts(conversation, 30, SOON).await?;
    ensure!(seen == one.texts(conversation), "{seen:?}");
    // Now the server's end is killed while both are connected.
    let pod = chat.pod(chat_events::Service::SocketHandler, 0);
    pod.kill().await?;
    for number in 0..5 {
        one.send(conversation, &format!("written while cut {number}"));
    }
    pod.start().await?;
    let seen = two.await_texts(conversation, 35, SOON * 2).await?;
    ensure!(
        seen == one.await_texts(conversation, 35, SOON).await?,
        "{seen:?}"
    );
    ensure!(two.state().violations().is_empty());
    one.stop().await?;
    two.stop().await
}

#[tokio::test]
async fn above_the_limit_gives_a_ws_error_then_1008_other_users_unaffected() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let mut flood = ChatSocket::open(&ada).await?;
    let mut calm = ChatSocket::open(&ben).await?;
    let frames = limits::FRAMES_PER_WINDOW * 3;
    for _ in 0..frames {
        let frame = ClientFrame::MessageRead {
            conversation_id: conversation,
            up_to: 0,
        };
        if flood.send(&frame).await.is_err() {
            break;
        }
    }
    let mut throttled = 0;
    let code = loop {
        match flood.next(SOON).await? {
            Incoming::Frame(ServerFrame::Error {
                code: Code::Throttled,
                ..
            }) => throttled += 1,
            Incoming::Frame(_) => {}
            Incoming::Closed(code) => break code,
        }
    };
    ensure!(throttled > 0, "no error before the close");
    ensure!(code == Some(close::POLICY), "{code:?}");
    let sent = calm.say(conversation, "all is well").await?;
    calm.await_stored(sent).await?;
    Ok(())
}

#[tokio::test]
async fn a_user_may_have_ten_sockets_and_not_eleven() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let mut open = Vec::new();
    for _ in 0..limits::SOCKETS_PER_USER {
        open.push(ChatSocket::open(&ada).await?);
    }
    let origin = ada.site.origin.clone();
    ensure!(refusal(&ada, CHAT, Some(&origin)).await? == 429);
    let last = open.pop().context("ten sockets")?;
    last.close().await?;
    await_until("room for one more", SOON, async || {
        Ok((refusal(&ada, CHAT, Some(&origin)).await? == 101).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_frame_of_16_kib_is_read_and_one_byte_more_closes_with_1009() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let mut other = ChatSocket::open(&ben).await?;
    for (size, closes) in [(limits::FRAME, false), (limits::FRAME + 1, true)] {
        let mut socket = ChatSocket::open(&ada).await?;
        let frame = r#"{"type":"typing"}"#;
        let padded = format!("{frame}{}", " ".repeat(size - frame.len()));
        socket.send_message(Message::text(padded)).await?;
        if closes {
            let code = socket.await_close(SOON).await?;
            ensure!(code == Some(close::TOO_BIG), "{code:?}");
        } else {
            ensure!(socket.await_error().await? == Code::InvalidFrame);
            let sent = socket.say(conversation, "still here").await?;
            other.await_stored(sent).await?;
        }
    }
    Ok(())
}

async fn refusal(browser: &Browser, path: &str, origin: Option<&str>) -> anyhow::Result<u16> {
    match ChatSocket::connect(browser, path, origin).await {
        Ok(_) => Ok(101),
        Err(error) => Ok(error.downcast::<Refused>()?.status),
    }
}

async fn await_status(
    reader: &Person,
    who: &Person,
    wanted: &str,
    limit: Duration,
) -> anyhow::Result<()> {
    await_until(wanted, limit, async || {
        let user = reader
            .get(&format!("/api/users/{}", who.id))
            .await?
            .expect(200)?;
        Ok((user["status"] == wanted).then_some(()))
    })
    .await
}
