//! RabbitMQ is lost, blocks, forgets what was declared, or delivers what it should not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use chat_e2e::proxy::{Faults, Frames, Proxy};
use chat_e2e::{Backstage, Chat, await_until};
use chat_events::topology::{self, Exchange};
use chat_events::{Service, limits};
use chat_local::StoresHandle;
use chat_local::testing::own_stores_on_small_disk;
use reqwest::Method;
use tokio::time::sleep;

use crate::recorded::{RECOVERY, Recorded, SOON, figure};

/// Every service reaches the broker through the proxy only.
async fn apart() -> anyhow::Result<(Chat, Proxy)> {
    let cluster = chat_local::testing::cluster().await;
    let link = Proxy::amqp(cluster.stores.rabbitmq_port).await?;
    let port = link.port().to_string();
    let chat = Chat::start(cluster, |options| {
        options.env.push(("RMQ_PORT".into(), port));
    })
    .await?;
    Ok((chat, link))
}

#[tokio::test]
async fn with_the_broker_away_nothing_is_acknowledged_and_all_is_stored_in_order_afterwards()
-> anyhow::Result<()> {
    away(Duration::from_secs(5)).await
}

#[tokio::test]
async fn long_with_the_broker_away_for_minutes_nothing_is_lost() -> anyhow::Result<()> {
    away(Duration::from_secs(300)).await
}

async fn away(length: Duration) -> anyhow::Result<()> {
    let (chat, link) = apart().await?;
    let talk = Recorded::start(chat, 4).await?;
    talk.say(5);
    talk.settled().await?;
    // On a busy machine somebody sees a message stored before it is told accepted.
    talk.accepted().await?;
    let accepted = || -> usize {
        let clients = talk.clients.iter();
        clients.map(|client| client.state().accepted.len()).sum()
    };
    let before = accepted();
    talk.breaks("the broker");
    link.set(Faults::refuse());
    link.reset();
    talk.say(10);
    // History and sign-in go on.
    let ada = &talk.clients[0].person;
    let history = ada.history(talk.conversations[0]).await?;
    ensure!(!history.is_empty());
    ada.sign_in_elsewhere().await?;
    sleep(length).await;
    ensure!(accepted() == before, "acknowledged without a broker");
    link.heal();
    talk.heals("the broker");
    let healed = Instant::now();
    talk.settled().await?;
    figure("the broker's return to 40 messages stored", healed);
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn a_connection_lost_twenty_times_always_comes_back_with_every_consumer() -> anyhow::Result<()>
{
    let (chat, link) = apart().await?;
    let talk = Recorded::start(chat, 4).await?;
    let expected = consumers(&talk.chat).await?;
    for turn in 0..20 {
        talk.breaks("the way to the broker");
        link.reset();
        if turn % 4 == 3 {
            // While they connect, too.
            link.set(Faults::refuse());
            sleep(Duration::from_millis(300)).await;
            link.heal();
        }
        talk.heals("the way to the broker");
        talk.say(1);
        sleep(Duration::from_millis(200)).await;
    }
    let lost = Instant::now();
    talk.settled().await?;
    await_until("every consumer", RECOVERY, async || {
        Ok((consumers(&talk.chat).await? == expected).then_some(()))
    })
    .await?;
    figure("the last lost connection to every consumer", lost);
    talk.finish().await?;
    Ok(())
}

/// How many read each durable queue; the queues of pods have names of their own.
async fn consumers(chat: &Chat) -> anyhow::Result<BTreeMap<String, usize>> {
    await_until("consumers everywhere", RECOVERY, async || {
        let path = format!("queues/{}", chat.cluster().name);
        let queues = chat
            .cluster()
            .stores
            .rabbitmq_api(Method::GET, &path, None)
            .await?;
        let known = topology::queues();
        let mut found = BTreeMap::new();
        for queue in queues.as_array().context("no queues")? {
            let name = queue["name"].as_str().unwrap_or_default();
            if known.iter().any(|queue| queue.name == name) {
                let count = queue["consumers"].as_u64().unwrap_or_default();
                found.insert(name.to_owned(), count as usize);
            }
        }
        let all = found.len() == known.len() && found.values().all(|count| *count > 0);
        Ok(all.then_some(found))
    })
    .await
}

#[tokio::test]
async fn long_restarted_twenty_times_it_loses_nothing() -> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    let talk = Recorded::start(chat, 4).await?;
    let expected = consumers(&talk.chat).await?;
    for _ in 0..20 {
        talk.say(3);
        talk.breaks("RabbitMQ");
        stores.rabbitmq.kill().await?;
        talk.say(1);
        stores.rabbitmq.start().await?;
        talk.heals("RabbitMQ");
        let back = Instant::now();
        talk.settled().await?;
        figure("RabbitMQ ready to everything stored", back);
    }
    ensure!(consumers(&talk.chat).await? == expected);
    talk.finish().await?;
    drop(stores);
    Ok(())
}

#[tokio::test]
async fn an_alarm_of_memory_is_seen_in_metrics_and_ends_without_a_restart() -> anyhow::Result<()> {
    alarm(
        &["set_vm_memory_high_watermark", "absolute", "1MB"],
        &["set_vm_memory_high_watermark", "0.4"],
    )
    .await
}

#[tokio::test]
async fn long_an_alarm_of_disk_is_seen_in_metrics_and_ends_without_a_restart() -> anyhow::Result<()>
{
    alarm(
        &["set_disk_free_limit", "100000GB"],
        &["set_disk_free_limit", "1MB"],
    )
    .await
}

async fn alarm(raise: &[&str], clear: &[&str]) -> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    let handle = stores.handle();
    let talk = Recorded::start(chat, 4).await?;
    talk.say(3);
    talk.settled().await?;
    talk.accepted().await?;
    talk.breaks("the broker's memory or disk");
    handle.rabbitmqctl(raise).await?;
    await_alarm(&handle, true).await?;
    let raised = Instant::now();
    let before: usize = accepted(&talk);
    talk.say(3);
    await_until("a metric that says so", SOON, async || {
        let blocked = talk
            .chat
            .metric(Service::SocketHandler, 0, "chat_broker_blocked")
            .await?;
        Ok((blocked == 1.0).then_some(()))
    })
    .await?;
    figure("send into an alarm to the metric", raised);
    talk.clients[0]
        .person
        .history(talk.conversations[0])
        .await?;
    // Longer than a publisher waits for its confirm.
    sleep(Duration::from_secs(12)).await;
    ensure!(
        accepted(&talk) == before,
        "acknowledged by a broker that blocks"
    );
    handle.rabbitmqctl(clear).await?;
    await_alarm(&handle, false).await?;
    talk.heals("the broker's memory or disk");
    let cleared = Instant::now();
    talk.settled().await?;
    figure("end of an alarm to everything stored", cleared);
    await_until("a metric that says so", SOON, async || {
        let metric = "chat_broker_blocked";
        let blocked = talk.chat.metric(Service::SocketHandler, 0, metric).await?;
        Ok((blocked == 0.0).then_some(()))
    })
    .await?;
    talk.finish().await?;
    drop(stores);
    Ok(())
}

pub fn accepted(talk: &Recorded) -> usize {
    let clients = talk.clients.iter();
    clients.map(|client| client.state().accepted.len()).sum()
}

async fn await_alarm(stores: &StoresHandle, wanted: bool) -> anyhow::Result<()> {
    await_until("the alarm", RECOVERY, async || {
        // Refuses with 503 while there is an alarm.
        let check = stores.rabbitmq_api(Method::GET, "health/checks/alarms", None);
        Ok((check.await.is_err() == wanted).then_some(()))
    })
    .await
}

#[tokio::test]
async fn exchanges_bindings_and_queues_deleted_by_hand_are_declared_again() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let talk = Recorded::start(chat, 2).await?;
    talk.say(3);
    talk.settled().await?;
    let (stores, vhost) = (&talk.chat.cluster().stores, &talk.chat.cluster().name);
    let partition = topology::partition(talk.conversations[0]);
    let sends = topology::partition_queue(partition).name;
    let exchange = Exchange::Message.name();
    let remove = async |path: String| {
        stores
            .rabbitmq_api(Method::DELETE, &path, None)
            .await
            .with_context(|| path.clone())
    };
    talk.breaks("the topology");
    remove(format!(
        "bindings/{vhost}/e/{exchange}/q/{sends}/message.sent.{partition}"
    ))
    .await?;
    let deleted = Instant::now();
    talk.say(3);
    talk.settled().await?;
    figure("a binding deleted to everything stored", deleted);
    remove(format!("queues/{vhost}/{sends}")).await?;
    let deleted = Instant::now();
    talk.say(3);
    talk.settled().await?;
    figure("a queue deleted to everything stored", deleted);
    // An event that other queues take is not given back to its publisher: whoever
    // reads the queue has to find that it hears nothing.
    let notices = "NOTIFICATIONS_SRV_MessageSentQueue";
    let bindings = format!("bindings/{vhost}/e/{exchange}/q/{notices}");
    remove(format!("{bindings}/message.stored")).await?;
    let deleted = Instant::now();
    await_until("the binding", RECOVERY, async || {
        let there = stores.rabbitmq_api(Method::GET, &bindings, None).await?;
        Ok((there.as_array().is_some_and(|all| !all.is_empty())).then_some(()))
    })
    .await?;
    figure("a binding nobody misses deleted to declared again", deleted);
    remove(format!("exchanges/{vhost}/{exchange}")).await?;
    let deleted = Instant::now();
    talk.say(3);
    talk.settled().await?;
    figure("an exchange deleted to everything stored", deleted);
    talk.heals("the topology");
    talk.say(3);
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn deliveries_that_come_twice_have_one_effect() -> anyhow::Result<()> {
    let (chat, link) = apart().await?;
    let talk = Recorded::start(chat, 4).await?;
    link.set(Faults::frames(Frames::Doubled));
    // Those that are connected already, and those that connect now.
    for _ in 0..2 {
        talk.say(10);
        talk.settled().await?;
        link.reset();
    }
    let doubled = link.disturbed();
    ensure!(doubled > 40, "only {doubled}");
    talk.finish().await?;
    eprintln!("figure: {doubled} deliveries came twice");
    Ok(())
}

/// Two messages of one sender wait in one queue: which of them comes first is what
/// the broker says, so I6 cannot be held against a broker that lies about it. All
/// else can.
#[tokio::test]
async fn deliveries_in_another_order_give_one_order_to_everybody() -> anyhow::Result<()> {
    let (chat, link) = apart().await?;
    let talk = Recorded::start(chat, 4).await?;
    link.set(Faults {
        seed: 11,
        ..Faults::frames(Frames::Shuffled)
    });
    for _ in 0..3 {
        talk.say(10);
        talk.settled().await?;
    }
    let moved = link.disturbed();
    link.heal();
    ensure!(moved > 0, "nothing was moved");
    talk.finish_but(&["I6"]).await?;
    eprintln!("figure: {moved} deliveries were moved");
    Ok(())
}

#[tokio::test]
async fn a_dead_letter_without_a_queue_for_it_is_kept_until_there_is_one() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let talk = Recorded::start(chat, 2).await?;
    let (stores, vhost) = (&talk.chat.cluster().stores, &talk.chat.cluster().name);
    let queue = topology::partition_queue(topology::partition(talk.conversations[0]));
    let path = format!("queues/{vhost}/{}", queue.dead_letters());
    stores.rabbitmq_api(Method::DELETE, &path, None).await?;
    let (exchange, key) = &queue.bindings[0];
    let poison = (0..3).map(|number| format!("poison {number}").into_bytes());
    let poison: Vec<Vec<u8>> = poison.collect();
    talk.chat.publish_bodies(*exchange, key, &poison).await?;
    talk.say(3);
    talk.settled().await?;
    let listed = await_until("all among the dead letters", RECOVERY, async || {
        let listed = talk
            .chat
            .command(Service::Messages, &["dead-letters", "list"])
            .await?;
        Ok((listed.matches("poison ").count() >= poison.len()).then_some(listed))
    })
    .await?;
    ensure!(
        listed.matches("poison ").count() == poison.len(),
        "{listed}"
    );
    talk.finish_but(&["I18"]).await?;
    Ok(())
}

#[tokio::test]
async fn poison_is_put_aside_after_its_tries_and_holds_nobody_up() -> anyhow::Result<()> {
    let chat = Chat::alone().await?;
    let talk = Recorded::start(chat, 2).await?;
    let queue = topology::partition_queue(topology::partition(talk.conversations[0]));
    let (exchange, key) = &queue.bindings[0];
    let poison = [
        b"no JSON".to_vec(),
        b"{\"v\":99,\"events\":[]}".to_vec(),
        vec![b'x'; 1024 * 1024],
    ];
    talk.say(3);
    talk.chat.publish_bodies(*exchange, key, &poison).await?;
    talk.say(3);
    let begun = Instant::now();
    talk.settled().await?;
    figure("messages beside poison", begun);
    let dead = format!("chat_dead_letters_total{{queue=\"{}\"}}", queue.name);
    let failed = format!("chat_events_failed_total{{queue=\"{}\"}}", queue.name);
    await_until("three dead letters", RECOVERY, async || {
        let count = talk.chat.metric(Service::Messages, 0, &dead).await?;
        Ok((count == 3.0).then_some(()))
    })
    .await?;
    let tries = talk.chat.metric(Service::Messages, 0, &failed).await?;
    ensure!(
        tries == 3.0 * limits::DELIVERY_TRIES as f64,
        "{tries} tries of 3 poisoned events"
    );
    talk.finish_but(&["I18"]).await?;
    Ok(())
}

#[tokio::test]
async fn on_a_full_disk_it_takes_nothing_and_space_is_all_it_takes() -> anyhow::Result<()> {
    // Its limit is 200 MB of free space.
    let (stores, cluster) = own_stores_on_small_disk("rabbitmq", 500).await;
    let chat = Chat::start(cluster, |_| {}).await?;
    let handle = stores.handle();
    let talk = Recorded::start(chat, 4).await?;
    talk.say(3);
    talk.settled().await?;
    talk.breaks("the broker's disk");
    let ballast = stores.fill()?;
    await_alarm(&handle, true).await?;
    let before = accepted(&talk);
    talk.say(3);
    await_until("a metric that says so", SOON, async || {
        let blocked = talk
            .chat
            .metric(Service::SocketHandler, 0, "chat_broker_blocked")
            .await?;
        Ok((blocked == 1.0).then_some(()))
    })
    .await?;
    ensure!(
        accepted(&talk) == before,
        "acknowledged by a broker that is full"
    );
    drop(ballast);
    await_alarm(&handle, false).await?;
    talk.heals("the broker's disk");
    talk.settled().await?;
    talk.finish().await?;
    drop(stores);
    Ok(())
}
