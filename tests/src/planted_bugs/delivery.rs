//! From the log to what people see.

use anyhow::Context;
use chat_events::topology::{self, Exchange};
use chat_events::{ClientFrame, Service};
use reqwest::Method;
use serde_json::json;

use super::stage::{SOON, Stage};
use crate::history::notices_made;
use crate::{Backstage, ChatSocket, await_until};

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

/// The exchange goes, and with it the way to the pod's own queue; the newest entry comes
/// before the pod has bound it again.
pub async fn last_push_lost(stage: &mut Stage) -> anyhow::Result<()> {
    const SAID: usize = 3;
    let (conversation, [one, _]) = stage.any_talk();
    let stage: &Stage = stage;
    stage.say(SAID);
    stage.stored().await;
    let told = SAID * stage.people.len();
    noticed(stage, told).await?;
    let lock = "conversations in exclusive mode";
    let hold = stage.hold(Service::Messages, lock).await?;
    stage.clients[one].send(conversation, "the last one");
    stage.accepted().await?;
    replace_exchange(stage).await?;
    hold.release().await?;
    noticed(stage, told + 1).await
}

/// Whoever hears of an entry as the pods do has heard of so many.
async fn noticed(stage: &Stage, count: usize) -> anyhow::Result<()> {
    let mut notifications = stage.chat.database(Service::Notifications).await?;
    await_until("the notices", SOON, async || {
        let made = notices_made(&mut notifications).await?;
        Ok((made == count as i64).then_some(()))
    })
    .await
}

/// The new one leads to the queues of the services alone.
async fn replace_exchange(stage: &Stage) -> anyhow::Result<()> {
    let cluster = stage.chat.cluster();
    let (stores, vhost) = (&cluster.stores, &cluster.name);
    let exchange = Exchange::Message;
    let path = format!("exchanges/{vhost}/{exchange}");
    stores.rabbitmq_api(Method::DELETE, &path, None).await?;
    let topic = json!({ "type": "topic", "durable": true });
    stores.rabbitmq_api(Method::PUT, &path, Some(topic)).await?;
    for queue in topology::queues() {
        let path = format!("bindings/{vhost}/e/{exchange}/q/{}", queue.name);
        for (_, key) in queue.bindings.iter().filter(|(of, _)| *of == exchange) {
            let key = json!({ "routing_key": key });
            stores.rabbitmq_api(Method::POST, &path, Some(key)).await?;
        }
    }
    Ok(())
}
