//! Broker and Redis go away in the middle of a conversation and come back.

use std::time::{Duration, Instant};

use chat_events::{ClientId, SessionId};
use serde_json::{Value, json};

use crate::neighbours::Person;
use crate::socket::Socket;
use crate::world::{World, until};

#[tokio::test]
async fn sockets_outlive_the_broker_and_are_told_what_they_missed() -> anyhow::Result<()> {
    let (stores, world) = World::with_own_stores().await?;
    let pod = world.pod().await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    let mut socket = world.socket(&pod, &ann).await?;
    stores.rabbitmq.stop().await?;
    until("the pod is not ready", async || !pod.is_ready().await).await?;
    let id = socket.create(conversation, "anybody?").await?;
    let error = socket.await_frame("error").await?;
    assert_eq!(
        (&error["code"], &error["client_id"]),
        (&json!("unavailable"), &json!(id))
    );
    let missed = ClientId::generate();
    world.keep(conversation, &bob, missed, "while it was away")?;
    stores.rabbitmq.start().await?;
    // What was stored meanwhile reaches the index, not only the client.
    until("the pod is ready", async || pod.is_ready().await).await?;
    assert_eq!(
        await_positions(&mut socket).await?,
        json!([{"conversation_id": conversation, "seq": 1}])
    );
    let id = socket.create(conversation, "again").await?;
    assert_eq!(
        socket.await_frame("accepted").await?,
        json!({"type": "accepted", "client_id": id})
    );
    world.store(conversation, &ann, id, "again").await?;
    assert_eq!(socket.await_frame("message.stored").await?["seq"], 2);
    Ok(())
}

#[tokio::test]
async fn a_session_that_ended_in_an_outage_is_closed_and_another_of_its_user_hears_what_it_missed()
-> anyhow::Result<()> {
    let (stores, world) = World::with_own_stores().await?;
    let pod = world.pod_with(&[("HEARTBEAT_SECONDS", "1")]).await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    let mut stays = world.socket(&pod, &ann).await?;
    let elsewhere = Person {
        session: SessionId::generate(),
        ..ann.clone()
    };
    // The one with the newest token, which a pod would ask with.
    let mut ended = world.socket(&pod, &elsewhere).await?;
    let outage = async {
        stores.rabbitmq.stop().await?;
        until("the pod is not ready", async || !pod.is_ready().await).await?;
        world.keep(conversation, &bob, ClientId::generate(), "missed")?;
        world.neighbours.known().revoked.push(elsewhere.session);
        stores.rabbitmq.start().await?;
        anyhow::Ok(())
    };
    // Who does not read meanwhile is taken for dead when the broker takes its time.
    let heard = async { tokio::try_join!(await_positions(&mut stays), ended.close_code()) };
    let (over, heard) = tokio::join!(outage, heard);
    over?;
    let (positions, code) = heard?;
    assert_eq!(
        positions,
        json!([{"conversation_id": conversation, "seq": 1}])
    );
    assert_eq!(code, 4003);
    Ok(())
}

/// Those of the first heartbeat that names any but those of an empty log.
async fn await_positions(socket: &mut Socket) -> anyhow::Result<Value> {
    loop {
        let mut heartbeat = socket.await_frame("heartbeat").await?;
        let positions = heartbeat["positions"].take();
        if positions
            .as_array()
            .into_iter()
            .flatten()
            .any(|position| position["seq"] != 0)
        {
            return Ok(positions);
        }
    }
}

#[tokio::test]
async fn without_redis_people_chat_on() -> anyhow::Result<()> {
    let (stores, world) = World::with_own_stores().await?;
    let pod = world.pod().await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    stores.redis.stop().await?;
    let started = Instant::now();
    let mut writer = world.socket(&pod, &ann).await?;
    let mut reader = world.socket(&pod, &bob).await?;
    let id = writer.create(conversation, "still here").await?;
    writer.await_frame("accepted").await?;
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    world.store(conversation, &ann, id, "still here").await?;
    reader.await_frame("message.stored").await?;
    world
        .store(conversation, &bob, ClientId::generate(), "so am I")
        .await?;
    writer.await_frame("message.stored").await?;
    assert!(pod.is_ready().await);
    Ok(())
}
