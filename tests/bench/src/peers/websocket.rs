//! Peers whose clients speak in WebSocket frames, each in words of its own: one room, in
//! which everybody hears everything.

use chat_e2e::load::socket::{RawSocket, frame};
use futures::future::try_join_all;

use super::{Peer, centrifuge, nats, sockudo};

const AT_ONCE: usize = 32;

#[derive(Clone, Copy)]
pub enum Kind {
    Nats,
    Centrifuge,
    Sockudo,
}

impl Kind {
    pub async fn start(self) -> anyhow::Result<Peer> {
        match self {
            Self::Nats => nats::start().await,
            Self::Centrifuge => centrifuge::start().await,
            Self::Sockudo => sockudo::start().await,
        }
    }

    /// They hear the room.
    pub async fn members(self, peer: &Peer, count: usize) -> anyhow::Result<Vec<RawSocket>> {
        let mut members = Vec::new();
        while members.len() < count {
            let some = AT_ONCE.min(count - members.len());
            members.extend(try_join_all((0..some).map(|_| self.open(peer, true))).await?);
        }
        Ok(members)
    }

    /// May say something, and does not hear itself.
    pub async fn writer(self, peer: &Peer) -> anyhow::Result<RawSocket> {
        self.open(peer, false).await
    }

    async fn open(self, peer: &Peer, hears: bool) -> anyhow::Result<RawSocket> {
        let path = match self {
            Self::Nats | Self::Centrifuge => "/",
            Self::Sockudo => sockudo::PATH,
        };
        let loopback = [127, 0, 0, 1];
        let to = (loopback, peer.port).into();
        let mut socket = RawSocket::open(to, loopback.into(), path, &[]).await?;
        match self {
            Self::Nats => nats::enter(&mut socket, hears).await?,
            Self::Centrifuge => centrifuge::enter(&mut socket, hears).await?,
            // Whoever speaks has to hear the others.
            Self::Sockudo => sockudo::enter(&mut socket).await?,
        }
        Ok(socket)
    }

    /// A frame that says it to everybody in the room.
    pub fn message(self, body: &str) -> Vec<u8> {
        frame(
            match self {
                Self::Nats => nats::message(body),
                Self::Centrifuge => centrifuge::message(body),
                Self::Sockudo => sockudo::message(body),
            }
            .as_bytes(),
        )
    }
}

pub async fn say(socket: &RawSocket, words: &str) -> anyhow::Result<()> {
    Ok(socket.sender().write(&frame(words.as_bytes())).await?)
}

/// The first frame with `word` in it.
pub async fn wait_for(socket: &mut RawSocket, word: &str) -> anyhow::Result<String> {
    loop {
        let said = String::from_utf8_lossy(&socket.next().await?).into_owned();
        if said.contains(word) {
            return Ok(said);
        }
    }
}
