//! Several replicas share the partitions; one of them dies, freezes or leaves.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use chat_events::{ClientId, ConversationId, Event, LogEvent, MessageSent, Recorded, topology};
use chat_local::testing;
use tokio::task::JoinSet;

use crate::stage::{Person, Replica, Stage, until};

/// How many partitions each pod owns, by live leases.
async fn owners(stage: &Stage) -> HashMap<String, i64> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select owner, count(*) from partitions
         where owner is not null and expires_at > now() group by owner",
    )
    .fetch_all(&stage.pool)
    .await
    .expect("owners");
    rows.into_iter().collect()
}

async fn until_shared(stage: &Stage, shares: &[(&str, i64)]) {
    let wanted: HashMap<String, i64> = shares
        .iter()
        .map(|(pod, count)| ((*pod).to_owned(), *count))
        .collect();
    until("the partitions are shared", async || {
        (owners(stage).await == wanted).then_some(())
    })
    .await;
}

struct Chat {
    anna: Person,
    ben: Person,
    conversation: ConversationId,
}

/// Enough conversations that most partitions have some.
async fn chats(stage: &Stage, replica: &Replica) -> Vec<Chat> {
    let mut chats = Vec::new();
    let anna = stage.person("anna").await;
    for n in 0..24 {
        let ben = stage.person(&format!("ben{n}")).await;
        let conversation = stage.open(replica, &anna, &ben).await;
        let anna = anna.clone();
        chats.push(Chat {
            anna,
            ben,
            conversation,
        });
    }
    chats
}

/// Sends `count` messages to each conversation, alternating the senders.
fn load(stage: &Stage, chats: &[Chat], count: usize) -> JoinSet<()> {
    let mut sends = JoinSet::new();
    for chat in chats {
        let publisher = stage.publisher.clone();
        let (people, conversation_id) = ([chat.anna.id, chat.ben.id], chat.conversation);
        sends.spawn(async move {
            for n in 0..count {
                let event = Event::MessageSent(MessageSent {
                    conversation_id,
                    sender_id: people[n % 2],
                    client_id: ClientId::generate(),
                    content: n.to_string(),
                });
                let sent = publisher.publish(Recorded::new(event, None)).await;
                sent.expect("a confirm");
            }
        });
    }
    sends
}

/// Every acknowledged message once, in the order of sending, without a gap.
async fn check_stored(stage: &Stage, replica: &Replica, chats: &[Chat], count: usize) {
    for chat in chats {
        let log = until("all messages are stored", async || {
            let log = stage.log(replica, &chat.ben, chat.conversation).await;
            (log.len() >= count).then_some(log)
        })
        .await;
        let contents: Vec<String> = log
            .iter()
            .enumerate()
            .map(|(at, entry)| match entry {
                LogEvent::Message { seq, message, .. } => {
                    assert_eq!(*seq, at as i64 + 1);
                    message.content.clone()
                }
                LogEvent::Read { .. } => panic!("nobody read"),
            })
            .collect();
        let sent: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        assert_eq!(contents, sent);
    }
    let wrong = stage
        .count(
            "select count(*) from conversations c
             where c.last_seq <> (select count(*) from messages m where m.conversation_id = c.id)
                 + (select count(*) from reads r where r.conversation_id = c.id)",
        )
        .await;
    assert_eq!(wrong, 0);
}

/// And what was heard says the same.
async fn check(stage: &Stage, replica: &Replica, chats: &[Chat], count: usize) {
    check_stored(stage, replica, chats, count).await;
    for chat in chats {
        let log = stage.log(replica, &chat.ben, chat.conversation).await;
        let heard = until("all messages are heard", async || {
            let heard = stage.heard.entries(chat.conversation);
            let distinct: HashSet<i64> = heard.iter().map(LogEvent::seq).collect();
            (distinct.len() == count).then_some(heard)
        })
        .await;
        assert!(
            heard
                .iter()
                .all(|entry| log[entry.seq() as usize - 1] == *entry)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_partitions_evenly_and_keep_the_order() {
    let stage = Stage::new().await;
    let one = stage.replica("one").await;
    until_shared(&stage, &[("one", 12)]).await;
    let mut two = stage.replica("two").await;
    until_shared(&stage, &[("one", 6), ("two", 6)]).await;
    let chats = chats(&stage, &one).await;
    let mut sends = load(&stage, &chats, 40);
    // The third joins, and the second leaves, in the middle of it.
    let three = stage.replica("three").await;
    until_shared(&stage, &[("one", 4), ("two", 4), ("three", 4)]).await;
    let took = two.terminate().await;
    // It gave everything back: nobody has to wait for a lease to expire.
    let left = stage
        .count("select count(*) from partitions where owner = 'two'")
        .await
        + stage
            .count("select count(*) from replicas where pod = 'two'")
            .await;
    assert_eq!(left, 0);
    until_shared(&stage, &[("one", 6), ("three", 6)]).await;
    while let Some(sent) = sends.join_next().await {
        sent.expect("all are sent");
    }
    check(&stage, &three, &chats, 40).await;
    eprintln!("the second replica left after {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_killed_under_load_loses_and_doubles_nothing() {
    let stage = Stage::new().await;
    let mut one = stage.replica("one").await;
    let mut two = stage.replica("two").await;
    until_shared(&stage, &[("one", 6), ("two", 6)]).await;
    let chats = chats(&stage, &one).await;
    let mut sends = load(&stage, &chats, 60);
    until("the load is under way", async || {
        (stage.count("select count(*) from messages").await > 100).then_some(())
    })
    .await;
    one.kill().await;
    let killed = Instant::now();
    until_shared(&stage, &[("two", 12)]).await;
    eprintln!("taken over after {:?}", killed.elapsed());
    // It comes back under its name, and the other one dies.
    let one = stage.replica("one").await;
    two.kill().await;
    while let Some(sent) = sends.join_next().await {
        sent.expect("all are sent");
    }
    check(&stage, &one, &chats, 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_lost_its_lease_while_it_was_frozen_stores_nothing() {
    let (stage, replica) = Stage::with_replica().await;
    let (anna, _, conversation) = stage.pair(&replica).await;
    assert_eq!(stage.say(conversation, &anna, "before").await, 1);
    replica.pause().await;
    let client_id = stage.send(conversation, &anna, "while frozen").await;
    // As another replica would take it over.
    let partition = topology::partition(conversation) as i16;
    sqlx::query(
        "update partitions set owner = 'other', fence = fence + 1, expires_at = now() + interval '1 hour'
         where partition = $1",
    )
    .bind(partition)
    .execute(&stage.pool)
    .await
    .expect("taken over");
    replica.resume().await;
    until("it noticed", async || {
        let metrics = reqwest::get(replica.admin_url("/metrics")).await.ok()?;
        metrics
            .text()
            .await
            .ok()?
            .contains("chat_partitions 11")
            .then_some(())
    })
    .await;
    assert_eq!(stage.count("select last_seq from conversations").await, 1);
    // The other one gives it back, and the message is stored once.
    sqlx::query("update partitions set owner = null where partition = $1")
        .bind(partition)
        .execute(&stage.pool)
        .await
        .expect("given back");
    assert_eq!(stage.heard.stored(client_id).await.seq, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_partition_stores_nothing_and_holds_up_no_other() {
    let (stage, replica) = Stage::with_replica().await;
    let chats = chats(&stage, &replica).await;
    let lost = topology::partition(chats[0].conversation);
    // What waits meanwhile is written together.
    replica.pause().await;
    let mut sent = Vec::new();
    for chat in &chats {
        let client_id = stage
            .send(chat.conversation, &chat.anna, "while frozen")
            .await;
        sent.push((topology::partition(chat.conversation), client_id));
    }
    sqlx::query(
        "update partitions set owner = 'other', fence = fence + 1, expires_at = now() + interval '1 hour'
         where partition = $1",
    )
    .bind(lost as i16)
    .execute(&stage.pool)
    .await
    .expect("taken over");
    replica.resume().await;
    let (theirs, ours): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(of, _)| *of == lost);
    for (_, client_id) in &ours {
        assert_eq!(stage.heard.stored(*client_id).await.seq, 1);
    }
    let stored = stage.count("select count(*) from messages").await;
    assert_eq!(stored, ours.len() as i64);
    sqlx::query("update partitions set owner = null where partition = $1")
        .bind(lost as i16)
        .execute(&stage.pool)
        .await
        .expect("given back");
    for (_, client_id) in &theirs {
        assert_eq!(stage.heard.stored(*client_id).await.seq, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_frozen_under_load_is_replaced_and_its_return_changes_nothing() {
    let stage = Stage::new().await;
    let one = stage.replica("one").await;
    let two = stage.replica("two").await;
    until_shared(&stage, &[("one", 6), ("two", 6)]).await;
    let chats = chats(&stage, &two).await;
    let mut sends = load(&stage, &chats, 40);
    until("the load is under way", async || {
        (stage.count("select count(*) from messages").await > 100).then_some(())
    })
    .await;
    one.pause().await;
    let frozen = Instant::now();
    until_shared(&stage, &[("two", 12)]).await;
    while let Some(sent) = sends.join_next().await {
        sent.expect("all are sent");
    }
    // The broker still counts on the frozen consumer, until it misses its heartbeats.
    check_stored(&stage, &two, &chats, 40).await;
    eprintln!("all stored {:?} after the freeze", frozen.elapsed());
    one.resume().await;
    until_shared(&stage, &[("one", 6), ("two", 6)]).await;
    check(&stage, &one, &chats, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_and_a_database_killed_under_load_lose_and_double_nothing() {
    let (stores, cluster) = testing::own_stores().await;
    let stage = Stage::of(cluster).await;
    let one = stage.replica("one").await;
    let _two = stage.replica("two").await;
    until_shared(&stage, &[("one", 6), ("two", 6)]).await;
    let chats = chats(&stage, &one).await;
    let mut sends = load(&stage, &chats, 60);
    until("the load is under way", async || {
        (stage.count("select count(*) from messages").await > 100).then_some(())
    })
    .await;
    stores.postgres.kill().await.expect("PostgreSQL is killed");
    stores.postgres.start().await.expect("PostgreSQL starts");
    stores.rabbitmq.kill().await.expect("RabbitMQ is killed");
    stores.rabbitmq.start().await.expect("RabbitMQ starts");
    while let Some(sent) = sends.join_next().await {
        sent.expect("all are sent");
    }
    one.ready().await;
    check_stored(&stage, &one, &chats, 60).await;
}
