//! Three real nodes of RabbitMQ: one is killed, or has no majority.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chat_e2e::proxy::Proxy;
use chat_e2e::{Backstage, Chat, await_until};
use chat_events::Service;
use chat_local::Peer;
use chat_local::testing::{OwnStores, own_stores};
use tokio::time::sleep;

use crate::rabbitmq::accepted;
use crate::recorded::{RECOVERY, Recorded, figure};

/// Real nodes, with a copy of each queue on all of them. The link is what a Service
/// would be: it leads to a node that is ready.
async fn three_nodes() -> anyhow::Result<(Chat, Proxy, [Peer; 2], OwnStores)> {
    let (stores, cluster) = own_stores().await;
    let peers = [stores.join("second").await?, stores.join("third").await?];
    let link = Proxy::amqp(stores.handle().rabbitmq_port).await?;
    let port = link.port().to_string();
    let chat = Chat::start(cluster, |options| {
        options.env.push(("RMQ_PORT".into(), port));
    })
    .await?;
    Ok((chat, link, peers, stores))
}

#[tokio::test]
async fn long_one_of_three_nodes_killed_costs_a_pause_and_no_message() -> anyhow::Result<()> {
    let (chat, link, peers, stores) = three_nodes().await?;
    let talk = Recorded::start(chat, 4).await?;
    for _ in 0..3 {
        talk.say(5);
        talk.breaks("the first node");
        // Clients are led to the next one.
        link.lead_to(peers[0].handle.rabbitmq_port);
        let killed = Instant::now();
        stores.rabbitmq.kill().await?;
        talk.say(5);
        talk.settled().await?;
        figure("a node killed to 40 messages stored", killed);
        stores.rabbitmq.start().await?;
        figure("a node killed to the node back", killed);
        talk.heals("the first node");
        link.lead_to(stores.handle().rabbitmq_port);
        link.reset();
        talk.say(2);
        talk.settled().await?;
    }
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn long_a_node_without_a_majority_acknowledges_nothing() -> anyhow::Result<()> {
    let (chat, link, peers, stores) = three_nodes().await?;
    let talk = Recorded::start(chat, 4).await?;
    talk.say(5);
    talk.settled().await?;
    let before = accepted(&talk);
    talk.breaks("the other two nodes");
    for peer in &peers {
        peer.rabbitmq.pause().await;
    }
    talk.say(5);
    sleep(Duration::from_secs(10)).await;
    ensure!(accepted(&talk) == before, "acknowledged by a minority");
    // The others can do without this one.
    stores.rabbitmq.pause().await;
    for peer in &peers {
        peer.rabbitmq.resume().await;
    }
    link.lead_to(peers[0].handle.rabbitmq_port);
    link.reset();
    let moved = Instant::now();
    // The nodes that are left take a frozen one for dead after a minute.
    for client in &talk.clients {
        client.await_outbox_empty(4 * RECOVERY).await?;
    }
    figure("led to the majority to 20 messages stored", moved);
    let thawed = Instant::now();
    stores.rabbitmq.resume().await;
    talk.say(5);
    talk.settled().await?;
    // Those queues too of which nobody has asked anything since.
    await_until("every queue to answer", 4 * RECOVERY, async || {
        let listed = talk
            .chat
            .command(Service::Auth, &["dead-letters", "list"])
            .await;
        Ok(listed.is_ok().then_some(()))
    })
    .await?;
    figure("the frozen node goes on to every queue answers", thawed);
    talk.heals("the other two nodes");
    talk.finish().await?;
    Ok(())
}
