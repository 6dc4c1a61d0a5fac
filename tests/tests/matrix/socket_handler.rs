//! Pods of socket-handler die, all at once too, drain, or stand still.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chat_e2e::{Chat, await_until};
use chat_events::Service;

use crate::recorded::{RECOVERY, Recorded, figure};

/// Heartbeats come every 25 s; after two that are missing a client leaves.
const HALF_DEAD: Duration = Duration::from_secs(60);

#[tokio::test]
async fn clients_of_a_killed_pod_resume_on_another() -> anyhow::Result<()> {
    let talk = Recorded::start(Chat::replicas(2).await?, 12).await?;
    for pod in [0, 1] {
        talk.say(5);
        talk.breaks(&format!("socket-handler {pod}"));
        let killed = Instant::now();
        talk.chat.pod(Service::SocketHandler, pod).kill().await?;
        talk.say(5);
        for client in &talk.clients {
            client.await_connected().await?;
        }
        talk.settled().await?;
        figure(
            "socket-handler killed to all of 12 connected and stored",
            killed,
        );
        talk.chat.pod(Service::SocketHandler, pod).start().await?;
        talk.heals(&format!("socket-handler {pod}"));
    }
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn all_pods_restarted_together_get_every_client_back() -> anyhow::Result<()> {
    let talk = Recorded::start(Chat::replicas(2).await?, 12).await?;
    talk.say(5);
    let began = Instant::now();
    talk.breaks("socket-handler");
    let pods = [0, 1].map(|pod| talk.chat.pod(Service::SocketHandler, pod).clone());
    let restart = async |pod: &chat_local::Pod| {
        pod.kill().await?;
        pod.start().await
    };
    tokio::try_join!(restart(&pods[0]), restart(&pods[1]))?;
    talk.heals("socket-handler");
    talk.say(5);
    talk.settled().await?;
    figure("all of socket-handler killed to everything stored", began);
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn a_pod_that_drains_costs_each_client_one_reconnect() -> anyhow::Result<()> {
    let talk = Recorded::start(Chat::replicas(2).await?, 12).await?;
    let before: Vec<u32> = talk
        .clients
        .iter()
        .map(|client| client.state().connections)
        .collect();
    talk.say(10);
    talk.breaks("socket-handler 0");
    let began = Instant::now();
    // SIGTERM, and the end of the process.
    talk.chat.pod(Service::SocketHandler, 0).stop().await?;
    figure("drain of a pod of socket-handler", began);
    talk.heals("socket-handler 0");
    talk.say(5);
    talk.settled().await?;
    let mut moved = 0;
    for (client, before) in talk.clients.iter().zip(before) {
        client.await_connected().await?;
        let again = client.state().connections - before;
        ensure!(again <= 1, "{again} times: {:?}", client.state().gaps);
        moved += again;
    }
    ensure!(moved > 0, "nobody was on that pod");
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn long_clients_of_a_frozen_pod_leave_it_and_its_late_frames_change_nothing()
-> anyhow::Result<()> {
    let talk = Recorded::start(Chat::replicas(2).await?, 8).await?;
    talk.say(5);
    talk.breaks("socket-handler 0");
    let frozen = Instant::now();
    talk.chat.pod(Service::SocketHandler, 0).pause().await;
    talk.say(5);
    await_until("everybody elsewhere", 2 * HALF_DEAD, async || {
        let waiting = talk.clients.iter();
        let waiting = waiting.filter(|client| !client.state().outbox.is_empty());
        Ok((waiting.count() == 0).then_some(()))
    })
    .await?;
    figure("socket-handler frozen to everything stored", frozen);
    tokio::time::sleep_until((frozen + HALF_DEAD).into()).await;
    talk.chat.pod(Service::SocketHandler, 0).resume().await;
    talk.heals("socket-handler 0");
    talk.say(5);
    for client in &talk.clients {
        client.await_outbox_empty(RECOVERY).await?;
    }
    talk.finish().await?;
    Ok(())
}
