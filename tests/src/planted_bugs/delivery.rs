//! From the log to what people see.

use anyhow::Context;
use chat_events::{
    ClientFrame, ConversationId, Envelope, Event, Recorded, Service, Typing, UserId, topology,
};
use futures::future::try_join_all;
use reqwest::Method;
use serde_json::json;

use super::stage::{SOON, Stage};
use crate::history::Kind;
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

/// The pod's own queue is bounded. It overflows while the pod is frozen, and the
/// newest entry is lost there.
pub async fn last_push_lost(stage: &mut Stage) -> anyhow::Result<()> {
    const SAID: usize = 3;
    let (conversation, [one, _]) = stage.any_talk();
    let stage: &Stage = stage;
    stage.say(SAID);
    stage.stored().await;
    let told = SAID * stage.people.len();
    noticed(stage, told).await?;
    bound_pod_queues(stage).await?;
    let lock = "conversations in exclusive mode";
    let hold = stage.hold(Service::Messages, lock).await?;
    stage.clients[one].send(conversation, "the last one");
    stage.accepted().await?;
    stage.recorder.fault("a frozen pod", Kind::Invoke);
    let pod = stage.chat.pod(Service::SocketHandler, 0);
    pod.pause().await;
    // As much as the broker hands over at once, so that the rest waits in the queue.
    try_join_all((0..6).map(|_| noise(stage, 60))).await?;
    hold.release().await?;
    noticed(stage, told + 1).await?;
    noise(stage, 5).await?;
    pod.resume().await;
    stage.recorder.fault("a frozen pod", Kind::Ok);
    Ok(())
}

/// Whoever hears of an entry as the pods do has heard of so many.
async fn noticed(stage: &Stage, count: usize) -> anyhow::Result<()> {
    let mut notifications = stage.chat.database(Service::Notifications).await?;
    await_until("the notices", SOON, async || {
        let made: i64 = sqlx::query_scalar("select count(*) from notices")
            .fetch_one(&mut notifications)
            .await?;
        Ok((made == count as i64).then_some(()))
    })
    .await
}

/// To one event each.
async fn bound_pod_queues(stage: &Stage) -> anyhow::Result<()> {
    let cluster = stage.chat.cluster();
    let policy = json!({
        "pattern": format!("^{}", topology::pod_queue(Service::SocketHandler, "")),
        "definition": { "max-length": 1 },
        "apply-to": "queues",
    });
    let path = format!("policies/{}/bounded", cluster.name);
    let stores = &cluster.stores;
    stores
        .rabbitmq_api(Method::PUT, &path, Some(policy))
        .await?;
    Ok(())
}

/// Somebody types where nobody is.
async fn noise(stage: &Stage, count: usize) -> anyhow::Result<()> {
    let typing = Recorded::new(
        Event::Typing(Typing {
            conversation_id: ConversationId::generate(),
            user_id: UserId::generate(),
            active: true,
        }),
        None,
    );
    let (exchange, key) = (typing.event.exchange(), typing.event.routing_key());
    let body = serde_json::to_vec(&Envelope::new(vec![typing]))?;
    stage
        .chat
        .publish_bodies(exchange, &key, &vec![body; count])
        .await
}
