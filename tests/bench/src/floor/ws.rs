//! Sockets of bare servers.

use std::time::Instant;

use chat_e2e::load::socket::{RawSocket, frame};
use futures::future::try_join_all;

use super::{Floor, LENGTH};
use crate::serve::{Bare, Which};

const BODY: usize = 256;

/// Every connection waits for its answer before it asks again.
pub async fn echo(connections: usize) -> anyhow::Result<Floor> {
    let bare = Bare::start(Which::Echo).await?;
    let sockets = bare.open(connections).await?;
    let before = bare.parts.read()?;
    let until = Instant::now() + LENGTH;
    let players = sockets
        .into_iter()
        .map(|socket| tokio::spawn(ask(socket, until)));
    let mut count = 0;
    for played in try_join_all(players).await? {
        count += played?;
    }
    let spent = before.until(&bare.parts.read()?);
    let name = if connections == 64 {
        "ws-echo"
    } else {
        "ws-echo-1000"
    };
    Ok(Floor::of_server(name, "echo", &spent, count as f64))
}

async fn ask(mut socket: RawSocket, until: Instant) -> anyhow::Result<u64> {
    let (frame, sender) = (frame(&[b'x'; BODY]), socket.sender());
    let mut count = 0;
    while Instant::now() < until {
        sender.write(&frame).await?;
        socket.next().await?;
        count += 1;
    }
    Ok(count)
}

/// A ready frame to all, in lock step.
pub async fn fan_out(connections: usize) -> anyhow::Result<Floor> {
    let bare = Bare::start(Which::FanOut).await?;
    let first = bare.open(1).await?.swap_remove(0);
    let sockets = bare.open(connections).await?;
    let before = bare.parts.read()?;
    let until = Instant::now() + LENGTH;
    let (heard, mut hear) = tokio::sync::mpsc::unbounded_channel();
    for mut socket in sockets {
        let heard = heard.clone();
        tokio::spawn(async move {
            while socket.next().await.is_ok() {
                // Nobody counts any more when it is over.
                let _ = heard.send(());
            }
        });
    }
    let mut count = 0;
    while Instant::now() < until {
        first.sender().write(&[1]).await?;
        for _ in 0..connections {
            hear.recv().await;
        }
        count += connections;
    }
    let spent = before.until(&bare.parts.read()?);
    Ok(Floor::of_server(
        "ws-fanout",
        "delivery",
        &spent,
        count as f64,
    ))
}

/// Connections that are opened and closed one after the other.
pub async fn accept() -> anyhow::Result<Floor> {
    const AT_ONCE: usize = 16;
    let bare = Bare::start(Which::Echo).await?;
    let before = bare.parts.read()?;
    let until = Instant::now() + LENGTH;
    let players = (0..AT_ONCE).map(async |_| {
        let mut count = 0;
        while Instant::now() < until {
            bare.open(1).await?;
            count += 1;
        }
        anyhow::Ok(count)
    });
    let count: i32 = try_join_all(players).await?.into_iter().sum();
    let spent = before.until(&bare.parts.read()?);
    Ok(Floor::of_store(
        "ws-accept",
        "connection",
        &spent,
        f64::from(count),
    ))
}
