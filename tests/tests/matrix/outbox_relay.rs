//! The relay of an outbox dies between its statements, has a rival, or a writer that
//! takes its time.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chat_e2e::proxy::{Faults, Proxy, Way};
use chat_e2e::{Backstage, Chat, ChatSocket, Person, await_until};
use chat_events::topology::Exchange;
use chat_events::{Envelope, Event, Recorded, Service, UserId, limits};
use serde_json::json;
use sqlx::Connection;

use crate::recorded::{RECOVERY, SOON, figure};

/// Everything of one exchange, as it is on the wire.
struct Tap {
    channel: lapin::Channel,
    #[expect(dead_code, reason = "the channel ends with it")]
    connection: lapin::Connection,
    heard: Vec<Recorded>,
}

impl Tap {
    const QUEUE: &'static str = "tap";

    async fn open(chat: &Chat, exchange: Exchange, key: &str) -> anyhow::Result<Self> {
        use lapin::options::{QueueBindOptions, QueueDeclareOptions};
        let cluster = chat.cluster();
        let uri = format!(
            "amqp://{}:{}@127.0.0.1:{}/{}",
            chat_local::ADMIN,
            cluster.stores.password,
            cluster.stores.rabbitmq_port,
            cluster.name
        );
        let connection = lapin::Connection::connect(&uri, Default::default()).await?;
        let channel = connection.create_channel().await?;
        channel
            .queue_declare(
                Self::QUEUE.into(),
                QueueDeclareOptions::default(),
                Default::default(),
            )
            .await?;
        channel
            .queue_bind(
                Self::QUEUE.into(),
                exchange.name().into(),
                key.into(),
                QueueBindOptions::default(),
                Default::default(),
            )
            .await?;
        Ok(Self {
            channel,
            connection,
            heard: Vec::new(),
        })
    }

    /// All that came so far.
    async fn events(&mut self) -> anyhow::Result<&[Recorded]> {
        let options = lapin::options::BasicGetOptions { no_ack: true };
        while let Some(message) = self.channel.basic_get(Self::QUEUE.into(), options).await? {
            let envelope: Envelope = serde_json::from_slice(&message.data)?;
            self.heard.extend(envelope.events);
        }
        Ok(&self.heard)
    }

    /// The names that somebody got, in the order of the wire.
    async fn names(&mut self, user: UserId) -> anyhow::Result<Vec<String>> {
        let names = self.events().await?.iter();
        Ok(names
            .filter_map(|recorded| match &recorded.event {
                Event::UserUpdated(updated) if updated.user_id == user => {
                    Some(updated.display_name.clone())
                }
                _ => None,
            })
            .collect())
    }
}

async fn rename(person: &Person, name: &str) -> anyhow::Result<()> {
    await_until("a new name", RECOVERY, async || {
        let answer = person
            .patch("/api/users/me", &json!({ "display_name": name }))
            .await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await
}

/// Each name is on the wire, those that came again behind the first time only.
fn in_order(names: &[String], count: usize) -> anyhow::Result<()> {
    let mut first: Vec<&String> = Vec::new();
    for name in names {
        if !first.contains(&name) {
            first.push(name);
        }
    }
    let expected: Vec<String> = (0..count).map(|number| format!("name {number}")).collect();
    ensure!(
        first.iter().copied().eq(&expected),
        "on the wire: {names:?}"
    );
    Ok(())
}

async fn known_to_users(chat: &Chat) -> anyhow::Result<Person> {
    let ada = Person::sign_up(&chat.site, "ada").await?;
    await_until("Ada among the users", SOON, async || {
        let answer = ada.get(&format!("/api/users/{}", ada.id)).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    Ok(ada)
}

#[tokio::test]
async fn two_relays_and_one_of_them_killed_keep_the_order_and_lose_nothing() -> anyhow::Result<()> {
    const NAMES: usize = 60;
    let chat = Chat::replicas(2).await?;
    let ada = known_to_users(&chat).await?;
    let mut tap = Tap::open(&chat, Exchange::User, "user.updated").await?;
    for number in 0..NAMES {
        rename(&ada, &format!("name {number}")).await?;
        // Each pod dies three times, somewhere in its work.
        if number % 10 == 9 {
            let pod = chat.pod(Service::Users, number / 10 % 2);
            pod.kill().await?;
            pod.launch().await?;
        }
    }
    let last = format!("name {}", NAMES - 1);
    let names = await_until("the last name", RECOVERY, async || {
        let names = tap.names(ada.id).await?;
        Ok(names.contains(&last).then_some(names))
    })
    .await?;
    in_order(&names, NAMES)?;
    eprintln!("figure: {} repeats on the wire", names.len() - NAMES);
    ensure!(names.len() - NAMES <= 6 * limits::BATCH_EVENTS);
    Ok(())
}

#[tokio::test]
async fn killed_before_and_after_the_broker_has_the_event_it_leaves_once_more() -> anyhow::Result<()>
{
    let cluster = chat_local::testing::cluster().await;
    let link = Proxy::start(cluster.stores.rabbitmq_port).await?;
    let port = link.port().to_string();
    let chat = Chat::start(cluster, |options| {
        options.set(Service::Users, "RMQ_PORT", port);
    })
    .await?;
    let ada = known_to_users(&chat).await?;
    let mut tap = Tap::open(&chat, Exchange::User, "user.updated").await?;
    let pod = chat.pod(Service::Users, 0);
    let mut number = 0;
    for (way, on_the_wire) in [(Way::ToServer, false), (Way::ToClient, true)] {
        link.set(Faults::stall(way));
        let name = format!("name {number}");
        rename(&ada, &name).await?;
        // The row is claimed: to be published, or published and not deleted.
        await_until("a claimed row", SOON, async || {
            let mut database = chat.database(Service::Users).await?;
            let free: Vec<i64> = sqlx::query_scalar("select id from outbox for update skip locked")
                .fetch_all(&mut database)
                .await?;
            let there = tap.names(ada.id).await?.contains(&name);
            Ok((free.is_empty() && there == on_the_wire).then_some(()))
        })
        .await?;
        pod.kill().await?;
        link.reset();
        link.heal();
        pod.start().await?;
        number += 1;
        let times = 1 + usize::from(on_the_wire);
        await_until("the event, and its repeat", RECOVERY, async || {
            let names = tap.names(ada.id).await?;
            let count = names.iter().filter(|other| **other == name).count();
            Ok((count == times).then_some(()))
        })
        .await?;
    }
    in_order(&tap.names(ada.id).await?, number)?;
    let mut database = chat.database(Service::Users).await?;
    await_until("an empty outbox", SOON, async || {
        let left: i64 = sqlx::query_scalar("select count(*) from outbox")
            .fetch_one(&mut database)
            .await?;
        Ok((left == 0).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_long_transaction_holds_no_other_event_back_and_its_own_leaves_after_it()
-> anyhow::Result<()> {
    const OTHERS: usize = 100;
    let chat = Chat::alone().await?;
    let (ada, ben) = (known_to_users(&chat).await?, known_to_users(&chat).await?);
    let mut tap = Tap::open(&chat, Exchange::User, "user.updated").await?;
    rename(&ada, "name 0").await?;
    let mut writer = chat.database(Service::Users).await?;
    let mut open = writer.begin().await?;
    // Takes its number now, and is seen when it commits. As an event of Ben's.
    let event = await_until("the first event", SOON, async || {
        let first = tap.events().await?.first().cloned();
        Ok(first)
    })
    .await?;
    let text = serde_json::to_string(&event)?
        .replace(&ada.id.to_string(), &ben.id.to_string())
        .replace("name 0", "late");
    let late: serde_json::Value = serde_json::from_str(&text)?;
    sqlx::query("insert into outbox (event) values ($1)")
        .bind(late)
        .execute(&mut *open)
        .await?;
    for number in 1..OTHERS {
        rename(&ada, &format!("name {number}")).await?;
    }
    let last = format!("name {}", OTHERS - 1);
    await_until("all others", SOON, async || {
        Ok(tap.names(ada.id).await?.contains(&last).then_some(()))
    })
    .await?;
    ensure!(tap.names(ben.id).await?.is_empty(), "before its commit");
    open.commit().await?;
    let committed = Instant::now();
    await_until("the late one", SOON, async || {
        Ok((tap.names(ben.id).await? == ["late"]).then_some(()))
    })
    .await?;
    figure("commit of the long transaction to its event", committed);
    in_order(&tap.names(ada.id).await?, OTHERS)
}

#[tokio::test]
async fn somebody_who_comes_and_goes_is_told_of_in_that_order() -> anyhow::Result<()> {
    let chat = Chat::replicas(2).await?;
    let ada = known_to_users(&chat).await?;
    let mut tap = Tap::open(&chat, Exchange::User, "user.*").await?;
    for turn in 0..3_u32 {
        let socket = ChatSocket::open(&ada).await?;
        await_presence(&mut tap, ada.id, 2 * turn as usize + 1).await?;
        socket.close().await?;
        await_presence(&mut tap, ada.id, 2 * turn as usize + 2).await?;
        // The other pod relays from now on.
        chat.pod(Service::Users, (turn % 2) as usize).kill().await?;
        chat.pod(Service::Users, (turn % 2) as usize)
            .start()
            .await?;
    }
    Ok(())
}

/// Online and offline in turn, so many of them, repeats aside.
async fn await_presence(tap: &mut Tap, user: UserId, count: usize) -> anyhow::Result<()> {
    await_until("the change", Duration::from_secs(50), async || {
        let mut turns: Vec<bool> = tap
            .events()
            .await?
            .iter()
            .filter_map(|recorded| match &recorded.event {
                Event::UserOnline(change) if change.user_id == user => Some(true),
                Event::UserOffline(change) if change.user_id == user => Some(false),
                _ => None,
            })
            .collect();
        turns.dedup();
        Ok((turns.len() == count).then_some(()))
    })
    .await
}
