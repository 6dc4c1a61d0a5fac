//! Hostile frames on a signed-in socket and hostile parameters, while others chat.

use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::fuzz::inputs;
use chat_e2e::{Chat, ChatSocket, Incoming, Person, Talk, await_until};
use chat_events::{ClientFrame, ClientId, Code, ConversationId, ServerFrame, Service, close};
use proptest::prelude::*;
use serde_json::json;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

const SOON: Duration = Duration::from_secs(10);
/// How a socket may end: as documented, or as WebSockets end for what is no text.
const ENDS: &[u16] = &[1002, 1003, 1007, close::POLICY, close::TOO_BIG];
/// Sent on one socket: what follows a frame that ends it is not heard.
const FRAMES: usize = 25;
/// What two people say meanwhile, at most one thing in this time.
const PAUSE: Duration = Duration::from_secs(1);

fn frames(conversations: Vec<ConversationId>) -> impl Strategy<Value = Vec<u8>> {
    let conversation = || prop::sample::select(conversations.clone());
    let create = (conversation(), ".{0,60}").prop_map(|(conversation_id, content)| {
        json!({
            "type": "message.create", "client_id": ClientId::generate(),
            "conversation_id": conversation_id, "content": content,
        })
    });
    let read = (conversation(), 0..1_000_i64).prop_map(|(conversation_id, up_to)| {
        json!({ "type": "message.read", "conversation_id": conversation_id, "up_to": up_to })
    });
    let typing = (conversation(), any::<bool>()).prop_map(|(conversation_id, active)| {
        json!({ "type": "typing", "conversation_id": conversation_id, "active": active })
    });
    let resume = (conversation(), 0..1_000_i64).prop_map(|(conversation_id, after)| {
        json!({ "type": "resume", "conversation_id": conversation_id, "after": after })
    });
    prop_oneof![3 => create, 1 => read, 1 => typing, 1 => resume]
        .prop_map(|frame| frame.to_string().into_bytes())
}

#[tokio::test]
async fn hostile_frames_harm_neither_the_pod_nor_anybody_else() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let talk = Talk::start(&chat).await?;
    let (mallory, _, own) = chat.two_people().await?;
    let connections = [&talk.ada, &talk.ben].map(|client| client.state().connections);
    let somewhere = ConversationId::generate();
    let mut hostile = inputs("frames", frames(vec![own, talk.conversation, somewhere]));
    let (mut said, mut spoke) = (0, Instant::now());
    loop {
        let batch: Vec<Vec<u8>> = hostile.by_ref().take(FRAMES).collect();
        if batch.is_empty() {
            break;
        }
        attack(&mallory, &batch).await?;
        if spoke.elapsed() > PAUSE {
            talk.say_unacknowledged(1);
            (said, spoke) = (said + 1, Instant::now());
        }
    }
    ensure!(chat.is_alive(Service::SocketHandler, 0).await?);
    let now = [&talk.ada, &talk.ben].map(|client| client.state().connections);
    ensure!(now == connections, "somebody lost a connection");
    talk.say_unacknowledged(10);
    // Nobody heard anything of mallory's.
    talk.finish(said + 10, SOON).await
}

/// One socket, until it is closed or everything was said and answered.
async fn attack(mallory: &Person, batch: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut socket = ChatSocket::open(mallory).await?;
    for input in batch {
        let sent = match std::str::from_utf8(input) {
            Ok(text) => socket.send_text(text).await,
            Err(_) if input.len() % 2 == 0 => {
                socket.send_message(Message::binary(input.clone())).await
            }
            Err(_) => socket.send_invalid_text(input).await,
        };
        if sent.is_err() {
            return ends(&mut socket).await;
        }
    }
    // Its answer comes behind those to all frames but the ones that ask others.
    let last = ClientFrame::MessageRead {
        conversation_id: ConversationId::generate(),
        up_to: 0,
    };
    if socket.send(&last).await.is_err() {
        return ends(&mut socket).await;
    }
    loop {
        match socket.next(SOON).await? {
            Incoming::Closed(code) => return documented(code),
            Incoming::Frame(ServerFrame::Error { detail, .. }) if detail.contains("up_to") => {
                // It may be closed from the other side by now, for a frame before.
                let _ = socket.close().await;
                return Ok(());
            }
            Incoming::Frame(_) => {}
        }
    }
}

/// Whatever was said before the end can be read.
async fn ends(socket: &mut ChatSocket) -> anyhow::Result<()> {
    let code = socket.await_close(SOON).await?;
    documented(code)
}

fn documented(code: Option<u16>) -> anyhow::Result<()> {
    // No code when the other side was gone before it could be said.
    ensure!(
        code.is_none_or(|code| ENDS.contains(&code)),
        "closed with {code:?}"
    );
    Ok(())
}

fn parameters(conversation: ConversationId) -> impl Strategy<Value = Vec<u8>> {
    let number = || prop_oneof![-2..120_i64, any::<i64>()];
    let place = prop::sample::select(vec!["before", "after", "around", "limit"]);
    let messages = (place, number()).prop_map(move |(place, number)| {
        format!("/api/messages?conversation={conversation}&{place}={number}")
    });
    let events = (number(), number()).prop_map(move |(after, limit)| {
        format!("/api/messages/events?conversation={conversation}&after={after}&limit={limit}")
    });
    let users = (
        "[a-z0-9]{0,4}",
        prop::sample::select(vec!["username", "status"]),
    )
        .prop_map(|(q, sort)| format!("/api/users?q={q}&sort={sort}&direction=asc&limit=5"));
    let lists = prop::sample::select(vec![
        "/api/conversations?limit=3&cursor=1700000000000000_01890000000070008000000000000001",
        "/api/notifications?limit=3&unread=true&cursor=01890000-0000-7000-8000-000000000001",
        "/api/users?cursor=eyJvcmRlciI6eyJzb3J0IjoidXNlcm5hbWUifX0",
    ])
    .prop_map(str::to_owned);
    prop_oneof![messages, events, users, lists].prop_map(String::into_bytes)
}

#[tokio::test]
async fn hostile_parameters_are_answered_with_a_page_or_a_code() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    await_until("ada to be known", SOON, async || {
        let answer = ben.get(&format!("/api/users/{}", ada.id)).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    let (mut pages, mut refusals) = (0, 0);
    for input in inputs("parameters", parameters(conversation)) {
        let Some(path) = as_path(&input) else {
            continue;
        };
        let answer = ada.get(&path).await.with_context(|| path.clone())?;
        if answer.status == 200 {
            pages += 1;
            continue;
        }
        let code = serde_json::from_value::<Code>(answer.body["code"].clone());
        let named = code.is_ok_and(|code| code.status() == answer.status && answer.status < 500);
        // NGINX does not let an address through that is longer than it takes.
        ensure!(named || answer.status == 414, "{path}: {answer}");
        refusals += 1;
    }
    ensure!(
        pages > 0 && refusals > 0,
        "{pages} pages, {refusals} refusals"
    );
    Ok(())
}

/// Where a list is, whatever follows; other paths are of other tests.
fn as_path(input: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(input).ok()?;
    let (list, query) = text.split_once('?')?;
    let known = [
        "/api/messages",
        "/api/messages/events",
        "/api/users",
        "/api/conversations",
        "/api/notifications",
    ];
    let sendable = !query.contains(|c: char| c.is_control() || c == ' ' || c == '#');
    (known.contains(&list) && sendable).then(|| text.to_owned())
}
