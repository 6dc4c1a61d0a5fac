//! Conversations: one per pair, their list, and their history page by page.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::{Chat, ChatClient, Person, await_until};
use futures::future::try_join_all;
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_pair_has_exactly_one_conversation_whoever_starts_it() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let [ada, ben] = chat.two_strangers().await?;
    let tries = (0..10).map(|number| {
        let (from, to) = if number % 2 == 0 {
            (&ada, &ben)
        } else {
            (&ben, &ada)
        };
        // Ten at once may be more than the pool of a busy machine takes.
        await_until("the conversation", SOON, async || {
            from.conversation_with(to).await.map(Some)
        })
    });
    let ids = try_join_all(tries).await?;
    ensure!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let again = ben
        .post("/api/conversations", &json!({ "user_id": ada.id }))
        .await?
        .expect(200)?;
    ensure!(again["id"] == json!(ids[0]));
    // The earlier way to start a room finds the same conversation.
    let room = ben
        .post("/ws/chat/createRoom", &json!({ "name": ada.username }))
        .await?;
    ensure!(
        matches!(room.status, 200 | 201) && room.body["id"] == json!(ids[0]),
        "{room}"
    );
    let mine = ada.get("/api/conversations").await?.expect(200)?;
    ensure!(mine["conversations"].as_array().map(Vec::len) == Some(1));
    Ok(())
}

#[tokio::test]
async fn nobody_talks_to_himself_or_to_nobody() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let himself = ada
        .post("/api/conversations", &json!({ "user_id": ada.id }))
        .await?;
    ensure!(matches!(himself.status, 400 | 404), "{himself}");
    ada.post(
        "/api/conversations",
        &json!({ "user_id": uuid::Uuid::now_v7() }),
    )
    .await?
    .expect_problem(404, "not_found")
}

#[tokio::test]
async fn lists_own_conversations_with_last_message_and_unread_count() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, with_ben) = chat.two_people().await?;
    let cleo = Person::sign_up(&chat.site, "cleo").await?;
    let with_cleo = cleo.conversation_with(&ada).await?;
    let (from_ben, from_cleo) = (ChatClient::start(&ben), ChatClient::start(&cleo));
    from_cleo.send(with_cleo, "from Cleo");
    from_cleo.await_outbox_empty(SOON).await?;
    from_ben.send(with_ben, "one");
    from_ben.send(with_ben, "two");
    from_ben.await_outbox_empty(SOON).await?;
    let list = ada.get("/api/conversations").await?.expect(200)?;
    let shown: Vec<_> = list["conversations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| {
            json!([
                one["id"],
                one["last_message"]["content"],
                one["unread"],
                one["seq"]
            ])
        })
        .collect();
    let expected = [
        json!([with_ben, "two", 2, 2]),
        json!([with_cleo, "from Cleo", 1, 1]),
    ];
    ensure!(shown == expected, "{list}");
    let page = ada.get("/api/conversations?limit=1").await?.expect(200)?;
    let next = page["next_cursor"].as_str().unwrap_or_default();
    let rest = ada
        .get(&format!("/api/conversations?limit=1&cursor={next}"))
        .await?
        .expect(200)?;
    ensure!(page["conversations"][0]["id"] == json!(with_ben));
    ensure!(rest["conversations"][0]["id"] == json!(with_cleo));
    from_ben.stop().await?;
    from_cleo.stop().await
}

#[tokio::test]
async fn cursor_paging_yields_every_message_once_while_new_ones_arrive() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let client = ChatClient::start(&ada);
    for number in 1..=45 {
        client.send(conversation, &format!("message {number}"));
    }
    client.await_outbox_empty(SOON * 3).await?;
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let page = ben
            .get(&format!(
                "/api/messages?conversation={conversation}{before}"
            ))
            .await?
            .expect(200)?;
        let seqs: Vec<i64> = page["messages"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|message| message["seq"].as_i64())
            .collect();
        ensure!(!seqs.is_empty() && seqs.len() <= 20, "{seqs:?}");
        before = format!("&before={}", seqs[0]);
        seen.splice(0..0, seqs);
        client.send(conversation, "meanwhile");
        client.await_outbox_empty(SOON).await?;
        if page["has_before"] == false {
            break;
        }
    }
    ensure!(seen.iter().copied().eq(1..=45), "{seen:?}");
    // Forwards again, from a place in the middle.
    let around = ben
        .get(&format!(
            "/api/messages?conversation={conversation}&around=20&limit=10"
        ))
        .await?
        .expect(200)?;
    let shown = around["messages"].as_array().map_or(&[][..], Vec::as_slice);
    ensure!(shown.iter().any(|message| message["seq"] == 20) && shown.len() <= 10);
    ensure!(around["has_before"] == true && around["has_after"] == true);
    let after = ben
        .get(&format!(
            "/api/messages?conversation={conversation}&after=40&limit=100"
        ))
        .await?
        .expect(200)?;
    ensure!(after["messages"][0]["seq"] == 41 && after["has_after"] == false);
    client.stop().await
}
