//! From the log to what people see.

use anyhow::Context;
use chat_events::ClientFrame;
use chat_events::topology::Exchange;
use reqwest::Method;

use super::stage::{SOON, Stage};
use crate::{ChatSocket, await_until};

/// People talk beside others on the same pod.
pub async fn strangers_are_near(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say(3);
    stage.stored().await;
    Ok(())
}

/// A tab of a reader says how far it has got, long after another one went on.
pub async fn another_tab_lags(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say(9);
    stage.stored().await;
    stage.read().await;
    let (conversation_id, [one, two]) = stage.any_talk();
    let up_to = {
        let state = stage.clients[one].state();
        let log = state.logs.get(&conversation_id).context("no such log")?;
        let mut others = log
            .messages()
            .filter(|message| message.sender_id == stage.people[two].id);
        others.next().context("nothing was said")?.seq
    };
    let mut tab = ChatSocket::open(&stage.people[one]).await?;
    tab.send(&ClientFrame::MessageRead {
        conversation_id,
        up_to,
    })
    .await?;
    // What is said on the same socket is heard after it.
    stage.say_again(one, conversation_id).await?;
    tab.close().await?;
    stage.say(3);
    stage.stored().await;
    Ok(())
}

/// Somebody loses the connection and comes back.
pub async fn away_for_a_while(stage: &mut Stage) -> anyhow::Result<()> {
    let (conversation, [one, two]) = stage.any_talk();
    let [ada, ben] = [one, two].map(|index| &stage.clients[index]);
    ben.go_offline();
    ben.await_state("offline", SOON, |state| (!state.connected).then_some(()))
        .await?;
    for number in 0..10 {
        ada.send(conversation, &format!("missed {number}"));
    }
    ada.await_outbox_empty(SOON).await?;
    ben.go_online();
    ben.await_connected().await
}

/// Somebody removes the exchange, and with it the way to the pod's own queue. What
/// is stored meanwhile is pushed to nobody.
pub async fn last_push_lost(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say(3);
    stage.stored().await;
    let (conversation, [one, _]) = stage.any_talk();
    let before = stage.clients[one].state().top(conversation);
    let cluster = stage.chat.cluster();
    let path = format!("exchanges/{}/{}", cluster.name, Exchange::Message);
    let stores = &cluster.stores;
    stores.rabbitmq_api(Method::DELETE, &path, None).await?;
    stage.clients[one].send(conversation, "the last one");
    await_until("the last one to be stored", SOON, async || {
        let shown = stage.people[one].conversation(conversation).await?;
        Ok((shown["seq"].as_i64() > Some(before)).then_some(()))
    })
    .await
}
