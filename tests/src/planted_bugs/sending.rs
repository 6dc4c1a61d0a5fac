//! From the sender's outbox to the log.

use std::time::Duration;

use chat_events::{Service, topology};
use reqwest::Method;

use super::stage::{SOON, Stage};
use crate::Backstage;

/// Sends are accepted, and the one who stores them dies over it.
pub async fn killed_while_storing(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say(3);
    stage.stored().await;
    let mut hold = stage
        .hold(Service::Messages, "conversations in exclusive mode")
        .await?;
    stage.say(6);
    stage.accepted().await?;
    hold.is_met().await?;
    stage.kill(Service::Messages).await?;
    hold.release().await
}

/// The pod that accepts sends dies, again and again.
pub async fn killed_while_accepting(stage: &mut Stage) -> anyhow::Result<()> {
    for _ in 0..4 {
        stage.say(25);
        stage.moment(150).await;
        stage.kill(Service::SocketHandler).await?;
        for client in &stage.clients {
            client.await_connected().await?;
        }
    }
    Ok(())
}

/// Somebody removes the way to the queue in which sends wait.
pub async fn unbound_queue(stage: &mut Stage) -> anyhow::Result<()> {
    stage.say(3);
    stage.stored().await;
    let (conversation, [one, _]) = stage.any_talk();
    let queue = topology::partition_queue(topology::partition(conversation));
    let cluster = stage.chat.cluster();
    for (exchange, key) in &queue.bindings {
        let path = format!(
            "bindings/{}/e/{exchange}/q/{}/{key}",
            cluster.name, queue.name
        );
        cluster
            .stores
            .rabbitmq_api(Method::DELETE, &path, None)
            .await?;
    }
    stage.clients[one].send(conversation, "into nothing");
    stage.accepted().await
}

/// A stored message is sent again, as after a lost answer. The database does not
/// help: the key is gone that would refuse it.
pub async fn said_again(stage: &mut Stage) -> anyhow::Result<()> {
    let mut messages = stage.chat.database(Service::Messages).await?;
    sqlx::raw_sql("alter table messages drop constraint messages_client_id_key")
        .execute(&mut messages)
        .await?;
    stage.say(3);
    stage.stored().await;
    let (conversation, [one, two]) = stage.any_talk();
    for index in [one, two] {
        stage.say_again(index, conversation).await?;
    }
    Ok(())
}

/// Messages and read marks in turn.
pub async fn read_and_answered(stage: &mut Stage) -> anyhow::Result<()> {
    for _ in 0..2 {
        stage.say(3);
        stage.stored().await;
        stage.read().await;
    }
    Ok(())
}

/// Somebody writes without a connection; it leaves after another's message was
/// accepted.
pub async fn written_before_and_sent_after(stage: &mut Stage) -> anyhow::Result<()> {
    let (conversation, [one, two]) = stage.any_talk();
    let [ada, ben] = [one, two].map(|index| &stage.clients[index]);
    ada.go_offline();
    ada.await_state("offline", SOON, |state| (!state.connected).then_some(()))
        .await?;
    let mut hold = stage
        .hold(Service::Messages, "conversations in exclusive mode")
        .await?;
    // The writer is busy with it while the next two wait for each other.
    ben.send(conversation, "before");
    hold.is_met().await?;
    ada.send(conversation, "written first");
    tokio::time::sleep(Duration::from_millis(2)).await;
    ben.send(conversation, "accepted first");
    ben.await_state("accepted", SOON, |state| {
        (state.accepted.len() == 2).then_some(())
    })
    .await?;
    ada.go_online();
    ada.await_state("accepted", SOON, |state| {
        (!state.accepted.is_empty()).then_some(())
    })
    .await?;
    hold.release().await?;
    stage.stored().await;
    Ok(())
}
