//! What lies between a client and NGINX.

use std::time::{Duration, Instant};

use anyhow::ensure;
use chat_e2e::Chat;
use chat_e2e::proxy::{Faults, Frames, Proxy, Way};
use tokio::time::sleep;

use crate::recorded::{RECOVERY, Recorded, figure};

/// Clients that reach NGINX through a proxy only.
async fn apart(people: usize) -> anyhow::Result<(Recorded, Proxy)> {
    let chat = Chat::alone().await?;
    let (_, port) = chat.site.url.rsplit_once(':').unwrap_or_default();
    let link = Proxy::websocket(port.parse()?).await?;
    let door = chat.site.through(&link.url());
    Ok((Recorded::through(chat, people, &door).await?, link))
}

#[tokio::test]
async fn a_link_that_is_cut_for_five_seconds_loses_nothing() -> anyhow::Result<()> {
    silence(&[5]).await
}

#[tokio::test]
async fn long_a_link_that_is_cut_for_minutes_loses_nothing() -> anyhow::Result<()> {
    silence(&[30, 120, 600]).await
}

async fn silence(lengths: &[u64]) -> anyhow::Result<()> {
    let (talk, link) = apart(4).await?;
    for seconds in lengths {
        talk.say(5);
        talk.breaks("the links of all clients");
        link.set(Faults::silence());
        talk.say(5);
        sleep(Duration::from_secs(*seconds)).await;
        link.heal();
        talk.heals("the links of all clients");
        let healed = Instant::now();
        talk.settled().await?;
        figure(
            &format!("after {seconds} s of silence to everything stored"),
            healed,
        );
    }
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn links_that_are_reset_again_and_again_lose_nothing() -> anyhow::Result<()> {
    let (talk, link) = apart(4).await?;
    for _ in 0..8 {
        let before: Vec<u32> = talk
            .clients
            .iter()
            .map(|client| client.state().connections)
            .collect();
        talk.say(4);
        talk.breaks("the links of all clients");
        link.reset();
        talk.heals("the links of all clients");
        talk.say(1);
        for (client, before) in talk.clients.iter().zip(before) {
            client
                .await_state("another connection", RECOVERY, |state| {
                    (state.connected && state.connections > before).then_some(())
                })
                .await?;
        }
    }
    talk.settled().await?;
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn a_link_that_is_deaf_or_dumb_loses_nothing() -> anyhow::Result<()> {
    let (talk, link) = apart(4).await?;
    for way in [Way::ToServer, Way::ToClient] {
        talk.say(3);
        talk.breaks("one way of all links");
        link.set(Faults::stall(way));
        talk.say(3);
        sleep(Duration::from_secs(3)).await;
        // What comes out of it at last comes on a connection that is given up, too.
        link.reset();
        link.heal();
        talk.heals("one way of all links");
        talk.settled().await?;
    }
    talk.finish().await?;
    Ok(())
}

/// A link on which nothing is heard is left, though it is never closed.
#[tokio::test]
async fn long_a_silent_link_is_found_dead_and_left() -> anyhow::Result<()> {
    let (talk, link) = apart(2).await?;
    talk.say(2);
    talk.settled().await?;
    let before = talk.clients[0].state().connections;
    talk.breaks("the way to the clients");
    let silent = Instant::now();
    link.set(Faults::stall(Way::ToClient));
    talk.say(2);
    talk.clients[0]
        .await_state("a link given up", 2 * RECOVERY, |state| {
            (!state.connected).then_some(())
        })
        .await?;
    figure("silence to a link given up", silent);
    link.heal();
    talk.heals("the way to the clients");
    talk.settled().await?;
    ensure!(talk.clients[0].state().connections > before);
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn frames_that_come_twice_or_mixed_up_give_the_same_view() -> anyhow::Result<()> {
    let (talk, link) = apart(4).await?;
    for (frames, seed) in [(Frames::Doubled, 1), (Frames::Shuffled, 2)] {
        let before = link.disturbed();
        link.set(Faults {
            seed,
            ..Faults::frames(frames)
        });
        talk.say(15);
        talk.settled().await?;
        link.heal();
        ensure!(link.disturbed() > before, "{frames:?} met no frame");
        for client in &talk.clients {
            let state = client.state();
            ensure!(state.violations().is_empty(), "{:?}", state.violations());
        }
    }
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn a_frame_that_is_cut_off_ends_the_link_and_not_the_client() -> anyhow::Result<()> {
    let (talk, link) = apart(4).await?;
    // In the head of a frame, in a text, in one of the next frames; the same upwards.
    for (way, after) in [
        (Way::ToClient, 1),
        (Way::ToClient, 40),
        (Way::ToClient, 700),
        (Way::ToServer, 3),
        (Way::ToServer, 90),
    ] {
        let before: Vec<u32> = talk
            .clients
            .iter()
            .map(|it| it.state().connections)
            .collect();
        talk.breaks("a frame");
        link.set(Faults::cut(way, after));
        talk.say(3);
        talk.clients[0]
            .await_state("the end of the link", RECOVERY, |state| {
                (!state.connected || state.connections > before[0]).then_some(())
            })
            .await?;
        link.heal();
        talk.heals("a frame");
        talk.settled().await?;
    }
    talk.finish().await?;
    Ok(())
}

#[tokio::test]
async fn a_link_of_four_kilobytes_a_second_delays_and_loses_nothing() -> anyhow::Result<()> {
    let (talk, link) = apart(2).await?;
    link.set(Faults {
        rate: Some(4_000),
        latency: Duration::from_millis(200),
        jitter: Duration::from_millis(200),
        seed: 5,
        ..Faults::default()
    });
    talk.say(10);
    talk.settled().await?;
    link.heal();
    talk.finish().await?;
    Ok(())
}
