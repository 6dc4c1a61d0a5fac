//! messages dies, stands still, or is slow.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use chat_e2e::proxy::{Faults, Proxy, Way};
use chat_e2e::{Backstage, Chat, await_until};
use chat_events::Service;
use futures::future::try_join_all;
use sqlx::Connection;
use uuid::Uuid;

use crate::recorded::{RECOVERY, Recorded, figure};

#[tokio::test]
async fn killed_five_times_under_load_it_loses_nothing() -> anyhow::Result<()> {
    kills(5).await
}

#[tokio::test]
async fn long_killed_a_hundred_times_under_load_it_loses_nothing() -> anyhow::Result<()> {
    kills(100).await
}

async fn kills(count: usize) -> anyhow::Result<()> {
    let talk = Recorded::start(Chat::alone().await?, 4).await?;
    for _ in 0..count {
        talk.say(4);
        // In the middle of it: something is stored, something is not.
        let first = talk.clients[0].state().outbox.len();
        talk.clients[0]
            .await_state("the first stored", RECOVERY, |state| {
                (state.outbox.len() < first.max(1)).then_some(())
            })
            .await?;
        talk.breaks("messages 0");
        talk.chat.pod(Service::Messages, 0).kill().await?;
        talk.say(1);
        talk.chat.pod(Service::Messages, 0).start().await?;
        talk.heals("messages 0");
        let back = Instant::now();
        talk.settled().await?;
        figure("messages ready to everything stored", back);
    }
    talk.finish().await?;
    Ok(())
}

/// A chat whose messages speaks to the broker through a proxy, while the others do not.
async fn behind_a_link() -> anyhow::Result<(Chat, Proxy)> {
    let cluster = chat_local::testing::cluster().await;
    let link = Proxy::start(cluster.stores.rabbitmq_port).await?;
    let port = link.port().to_string();
    let chat = Chat::start(cluster, |options| {
        options.set(Service::Messages, "RMQ_PORT", port);
    })
    .await?;
    Ok((chat, link))
}

#[tokio::test]
async fn killed_between_commit_and_answer_it_gives_the_same_answer_again() -> anyhow::Result<()> {
    between_commit_and_answer(5, 2, 10).await
}

#[tokio::test]
async fn long_killed_between_commit_and_answer_a_thousand_answers_stay_the_same()
-> anyhow::Result<()> {
    between_commit_and_answer(25, 8, 5).await
}

/// A client may send 120 frames a minute.
async fn between_commit_and_answer(
    rounds: usize,
    people: usize,
    each: usize,
) -> anyhow::Result<()> {
    let (chat, link) = behind_a_link().await?;
    let talk = Recorded::start(chat, people).await?;
    let mut kept = 0;
    for _ in 0..rounds {
        talk.settled().await?;
        let before = seqs(&talk.chat).await?;
        // All of it arrives at once …
        link.set(Faults::stall(Way::ToClient));
        talk.say(each);
        talk.accepted().await?;
        // … is committed, and no answer leaves.
        link.set(Faults::stall(Way::ToServer));
        let committed = await_until("a commit", RECOVERY, async || {
            let now = seqs(&talk.chat).await?;
            Ok((now.len() > before.len()).then_some(now))
        })
        .await?;
        talk.breaks("messages 0");
        talk.chat.pod(Service::Messages, 0).kill().await?;
        ensure!(
            talk.clients
                .iter()
                .any(|client| !client.state().outbox.is_empty()),
            "the answers came through"
        );
        link.reset();
        link.heal();
        talk.chat.pod(Service::Messages, 0).start().await?;
        talk.heals("messages 0");
        talk.settled().await?;
        let after = seqs(&talk.chat).await?;
        for (client_id, seq) in &committed {
            ensure!(after.get(client_id) == Some(seq), "{client_id} was {seq}");
        }
        kept += committed.len() - before.len();
    }
    eprintln!("figure: {kept} sends were committed before a kill, and kept their number");
    ensure!(kept >= rounds);
    talk.finish().await?;
    Ok(())
}

/// The number of each send in the database.
async fn seqs(chat: &Chat) -> anyhow::Result<HashMap<Uuid, i64>> {
    let mut database = chat.database(Service::Messages).await?;
    let rows: Vec<(Uuid, i64)> = sqlx::query_as("select client_id, seq from messages")
        .fetch_all(&mut database)
        .await?;
    database.close().await?;
    Ok(rows.into_iter().collect())
}

#[tokio::test]
async fn killed_after_its_answers_left_it_repeats_them_and_nobody_sees_it() -> anyhow::Result<()> {
    let (chat, link) = behind_a_link().await?;
    let talk = Recorded::start(chat, 2).await?;
    let role = talk.chat.cluster().role(Service::Messages);
    let mut holder = talk.chat.database(Service::Messages).await?;
    let mut admin = talk.chat.database(Service::Messages).await?;
    for _ in 0..3 {
        talk.settled().await?;
        let mut lock = holder.begin().await?;
        sqlx::query("select from conversations for update")
            .execute(&mut *lock)
            .await?;
        talk.say(5);
        await_until("a batch that waits for the lock", RECOVERY, async || {
            let waits: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_activity
                 where usename = $1 and wait_event_type = 'Lock')",
            )
            .bind(&role)
            .fetch_one(&mut admin)
            .await?;
            Ok(waits.then_some(()))
        })
        .await?;
        // Its answers leave, and it never hears that they are safe.
        link.set(Faults::stall(Way::ToClient));
        let waiting = || -> usize {
            let clients = talk.clients.iter();
            clients.map(|client| client.state().outbox.len()).sum()
        };
        let before = waiting();
        lock.rollback().await?;
        await_until("an answer", RECOVERY, async || {
            Ok((waiting() < before).then_some(()))
        })
        .await?;
        talk.breaks("messages 0");
        talk.chat.pod(Service::Messages, 0).kill().await?;
        link.reset();
        link.heal();
        talk.chat.pod(Service::Messages, 0).start().await?;
        talk.heals("messages 0");
        talk.settled().await?;
    }
    // The broker gives the batch again, which is answered again.
    await_until("a repeat on the wire", RECOVERY, async || {
        let repeats: u64 = talk
            .clients
            .iter()
            .map(|client| {
                client
                    .state()
                    .logs
                    .values()
                    .map(|log| log.repeats)
                    .sum::<u64>()
            })
            .sum();
        Ok((repeats > 0).then_some(()))
    })
    .await?;
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn frozen_past_its_leases_it_stores_nothing_twice() -> anyhow::Result<()> {
    let talk = Recorded::start(Chat::replicas(2).await?, 4).await?;
    talk.say(5);
    talk.breaks("messages 0");
    let frozen = Instant::now();
    talk.chat.pod(Service::Messages, 0).pause().await;
    talk.say(10);
    // The other one takes the partitions over.
    talk.settled().await?;
    figure("messages frozen to everything stored", frozen);
    talk.say(5);
    talk.chat.pod(Service::Messages, 0).resume().await;
    talk.heals("messages 0");
    talk.say(5);
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn slow_queries_hold_nobody_else_up() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let link = Proxy::start(cluster.stores.postgres_port).await?;
    let port = link.port().to_string();
    let chat = Chat::start(cluster, |options| {
        options.set(Service::Messages, "DB_PORT", port);
    })
    .await?;
    let talk = Recorded::start(chat, 4).await?;
    let reader = &talk.clients[0].person;
    let users = "/api/users?sort=username";
    let before = worst_of(20, reader, users).await?;
    talk.breaks("the database of messages");
    // 500 ms for each statement.
    link.set(Faults {
        latency: Duration::from_millis(250),
        ..Faults::default()
    });
    talk.say(10);
    // More than its pool can serve: each is answered, or told to come again.
    let path = format!("/api/messages?conversation={}", talk.conversations[0]);
    let flood = async {
        let answers = try_join_all((0..60).map(|_| reader.get(&path))).await;
        (answers, Instant::now())
    };
    let lists = async {
        let worst = worst_of(20, reader, users).await;
        (worst, Instant::now())
    };
    let ((slow, flood_ended), (meanwhile, lists_ended)) = tokio::join!(flood, lists);
    for answer in slow? {
        ensure!(matches!(answer.status, 200 | 503), "{answer}");
    }
    eprintln!(
        "figure: worst of 20 lists of users: {before:?} before, {:?} meanwhile",
        meanwhile?
    );
    ensure!(
        lists_ended < flood_ended,
        "20 lists of users waited for the slow queries"
    );
    link.heal();
    talk.heals("the database of messages");
    talk.finish().await?;
    Ok(())
}

/// The longest of so many requests, all of which are answered well.
async fn worst_of(count: usize, reader: &chat_e2e::Person, path: &str) -> anyhow::Result<Duration> {
    let mut worst = Duration::ZERO;
    for _ in 0..count {
        let begun = Instant::now();
        reader.get(path).await?.expect(200)?;
        worst = worst.max(begun.elapsed());
    }
    Ok(worst)
}
