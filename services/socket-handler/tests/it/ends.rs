//! How sockets end, and what is left then: nothing.

use std::time::{Duration, Instant};

use chat_events::{Event, SessionRevoked};
use jiff::{SignedDuration, Timestamp};
use redis::AsyncCommands;
use serde_json::json;

use crate::socket::Socket;
use crate::world::{ORIGIN, World, until};

#[tokio::test]
async fn an_ended_session_loses_its_sockets_within_two_seconds() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let ann = world.neighbours.person("ann");
    let mut other_device = ann.clone();
    other_device.session = chat_events::SessionId::generate();
    let mut tabs = [
        world.socket(&pod, &ann).await?,
        world.socket(&pod, &ann).await?,
    ];
    let mut other = world.socket(&pod, &other_device).await?;
    let started = Instant::now();
    world
        .publish(Event::SessionRevoked(SessionRevoked {
            user_id: ann.id,
            session_id: ann.session,
            until: Timestamp::now() + SignedDuration::from_mins(10),
        }))
        .await?;
    for tab in &mut tabs {
        assert_eq!(tab.close_code().await?, 4003);
    }
    assert!(started.elapsed() <= Duration::from_secs(2));
    // The token of the session opens no new one.
    let token = world.neighbours.token(&ann)?;
    let refused = Socket::open(&pod.url, "/ws/chat", Some(&token), Some(ORIGIN)).await;
    assert_eq!(refused.err().map(|refused| refused.status), Some(401));
    other.say(json!(null)).await?;
    assert_eq!(other.frame().await?["code"], "invalid_frame");
    Ok(())
}

#[tokio::test]
async fn a_socket_lives_no_longer_than_its_token() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod().await?;
    let ann = world.neighbours.person("ann");
    let mut claims = world.neighbours.claims(&ann);
    let expires = Timestamp::now().as_second() + 3;
    claims["exp"] = json!(expires);
    let token = world.neighbours.sign(&claims)?;
    let mut socket = Socket::open(&pod.url, "/ws/chat", Some(&token), Some(ORIGIN))
        .await
        .map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
    assert_eq!(socket.close_code().await?, 4001);
    let late = Timestamp::now().as_second() - expires;
    assert!((0..=3).contains(&late), "{late} s late");
    Ok(())
}

#[tokio::test]
async fn a_pod_that_stops_says_goodbye_and_leaves_nothing_behind() -> anyhow::Result<()> {
    let world = World::new().await?;
    let mut pod = world.pod_with(&[("POD_NAME", "leaver")]).await?;
    let [ann, bob] = ["ann", "bob"].map(|name| world.neighbours.person(name));
    let conversation = world.neighbours.conversation(&[&ann, &bob]);
    let mut sockets = [
        world.socket(&pod, &ann).await?,
        world.socket(&pod, &bob).await?,
    ];
    let id = sockets[0].create(conversation, "last words").await?;
    let started = Instant::now();
    pod.terminate().await?;
    let [mut sender, mut peer] = sockets;
    let mut heard = [sender.frame().await?, sender.frame().await?];
    heard.sort_by_key(|frame| frame["type"].to_string());
    assert_eq!(heard[0], json!({"type": "accepted", "client_id": id}));
    for going in [&heard[1], &peer.frame().await?] {
        assert_eq!(going["type"], "going_away");
        assert!(
            going["delay_ms"]
                .as_u64()
                .is_some_and(|delay| delay <= 15_000)
        );
    }
    assert_eq!(sender.close_code().await?, 1001);
    assert_eq!(peer.close_code().await?, 1001);
    assert!(pod.ended().await?, "the process ends well");
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    let mut redis = world.cluster.stores.redis().await?;
    let prefix = format!("{}:presence", world.cluster.name);
    let held: Vec<String> = redis.smembers(format!("{prefix}:pod:leaver")).await?;
    assert!(held.is_empty(), "{held:?}");
    let lease: Option<f64> = redis.zscore(format!("{prefix}:pods"), "leaver").await?;
    assert_eq!(lease, Some(0.0), "the lease is given back");
    Ok(())
}

#[tokio::test]
async fn presence_lasts_as_long_as_the_last_socket() -> anyhow::Result<()> {
    let world = World::new().await?;
    let pod = world.pod_with(&[("POD_NAME", "here")]).await?;
    let ann = world.neighbours.person("ann");
    let redis = world.cluster.stores.redis().await?;
    let key = format!("{}:presence:user:{}", world.cluster.name, ann.id);
    let is_held = async || {
        let pods: Vec<String> = redis.clone().smembers(&key).await.unwrap_or_default();
        pods == ["here"]
    };
    let (one, two) = (
        world.socket(&pod, &ann).await?,
        world.socket(&pod, &ann).await?,
    );
    until("the lease is there", &is_held).await?;
    drop(one);
    until("one socket is gone", async || {
        pod.metric("chat_sockets{kind=\"chat\"}").await == Some(1.0)
    })
    .await?;
    assert!(is_held().await);
    drop(two);
    until("the lease is gone", async || !is_held().await).await
}
