//! Redis is away, hangs, or is full. It holds nothing that cannot be made again.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chat_e2e::proxy::{Faults, Proxy};
use chat_e2e::{Backstage, Chat, Person, await_until};
use chat_events::Service;
use serde_json::json;

use crate::recorded::{RECOVERY, Recorded, SOON, figure};

/// Every service reaches Redis through the proxy only.
async fn apart() -> anyhow::Result<(Chat, Proxy)> {
    let cluster = chat_local::testing::cluster().await;
    let link = Proxy::start(cluster.stores.redis_port).await?;
    let address = format!("127.0.0.1:{}", link.port());
    let chat = Chat::start(cluster, |options| {
        options.env.push(("REDIS_HOST".into(), address));
    })
    .await?;
    Ok((chat, link))
}

/// Nobody's request fails for want of Redis.
async fn everything_works(chat: &Chat, ada: &Person) -> anyhow::Result<()> {
    ada.sign_in_elsewhere().await?.sign_out().await?;
    ada.refresh().await?.expect(200)?;
    for path in [
        "/api/users?sort=username",
        "/api/conversations",
        "/api/notifications",
    ] {
        ada.get(path).await?.expect(200)?;
    }
    let name = format!("Ada {}", rand::random::<u16>());
    ada.patch("/api/users/me", &json!({ "display_name": name }))
        .await?
        .expect(200)?;
    let page = ada
        .get(&format!("/api/users?q={}", ada.username))
        .await?
        .expect(200)?;
    ensure!(
        page["users"][0]["display_name"] == json!(name),
        "stale: {page}"
    );
    Person::sign_up(&chat.site, "new").await?;
    Ok(())
}

#[tokio::test]
async fn lost_wiped_and_back_it_costs_no_message_and_no_sign_in() -> anyhow::Result<()> {
    let (chat, link) = apart().await?;
    let talk = Recorded::start(chat, 4).await?;
    for _ in 0..2 {
        talk.say(4);
        await_until("something to lose", SOON, async || {
            let keys = talk.chat.redis_keys("").await?;
            Ok((!keys.is_empty()).then_some(()))
        })
        .await?;
        talk.breaks("Redis");
        link.set(Faults::refuse());
        link.reset();
        talk.say(4);
        everything_works(&talk.chat, &talk.clients[0].person).await?;
        talk.settled().await?;
        // It comes back with nothing in it.
        talk.chat.wipe_redis().await?;
        link.heal();
        talk.heals("Redis");
        everything_works(&talk.chat, &talk.clients[0].person).await?;
    }
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn while_it_hangs_a_call_gives_up_and_the_next_ones_are_not_tried() -> anyhow::Result<()> {
    let (chat, link) = apart().await?;
    let talk = Recorded::start(chat, 4).await?;
    let ada = &talk.clients[0].person;
    everything_works(&talk.chat, ada).await?;
    let down = "chat_cache_total{result=\"down\"}";
    let before = talk.chat.metric(Service::Users, 0, down).await?;
    talk.breaks("Redis");
    link.set(Faults::silence());
    talk.say(4);
    let begun = Instant::now();
    talk.settled().await?;
    figure("16 messages beside a Redis that hangs", begun);
    everything_works(&talk.chat, ada).await?;
    let begun = Instant::now();
    for _ in 0..30 {
        ada.get("/api/users?sort=username").await?.expect(200)?;
    }
    figure("30 lists of users beside a Redis that hangs", begun);
    // Each list would ask Redis; one a second was let try.
    let missed = talk.chat.metric(Service::Users, 0, down).await? - before;
    ensure!(missed >= 30.0, "only {missed} look-ups were given up");
    let log = talk.chat.log(Service::Users, 0).await?;
    let tried = log.matches("Redis does not answer").count() + log.matches("without Redis").count();
    ensure!(
        (tried as f64) < missed / 2.0,
        "{tried} of {missed} were tried"
    );
    link.heal();
    talk.heals("Redis");
    // The cache serves again.
    let hit = "chat_cache_total{result=\"hit\"}";
    let hits = talk.chat.metric(Service::Users, 0, hit).await?;
    await_until("a hit", SOON, async || {
        ada.get("/api/users?sort=username").await?.expect(200)?;
        let now = talk.chat.metric(Service::Users, 0, hit).await?;
        Ok((now > hits).then_some(()))
    })
    .await?;
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn full_it_takes_nothing_new_and_nothing_fails() -> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    let talk = Recorded::start(chat, 4).await?;
    let mut redis = stores.handle().redis().await?;
    let mut limit = async |bytes: &str| {
        ::redis::cmd("CONFIG")
            .arg("SET")
            .arg("maxmemory")
            .arg(bytes)
            .exec_async(&mut redis)
            .await
    };
    talk.say(3);
    talk.breaks("Redis");
    limit("1").await?;
    talk.say(3);
    talk.settled().await?;
    everything_works(&talk.chat, &talk.clients[0].person).await?;
    limit("256mb").await?;
    talk.heals("Redis");
    // Sockets that are open are online, whatever was not written meanwhile.
    for client in &talk.clients {
        let path = format!("/api/users/{}", client.person.id);
        await_until("online", RECOVERY, async || {
            let user = client.person.get(&path).await?.expect(200)?;
            Ok((user["status"] == "online").then_some(()))
        })
        .await?;
    }
    talk.finish().await?;
    drop(stores);
    Ok(())
}

/// Presence is right 45 s after the last change, whatever happened to Redis.
#[tokio::test]
async fn long_after_a_restart_presence_is_right_again_in_time() -> anyhow::Result<()> {
    let (chat, stores) = Chat::own().await?;
    let talk = Recorded::start(chat, 6).await?;
    talk.say(2);
    talk.breaks("Redis");
    stores.redis.kill().await?;
    // One leaves while nobody can note it.
    talk.clients[5].go_offline();
    stores.redis.start().await?;
    talk.heals("Redis");
    tokio::time::sleep(Duration::from_secs(46)).await;
    for (number, client) in talk.clients.iter().enumerate() {
        let path = format!("/api/users/{}", client.person.id);
        let user = talk.clients[0].person.get(&path).await?.expect(200)?;
        let expected = if number == 5 { "offline" } else { "online" };
        ensure!(user["status"] == expected, "{number}: {user}");
    }
    talk.clients[5].go_online();
    talk.clients[5].await_connected().await?;
    talk.finish().await?;
    drop(stores);
    Ok(())
}
