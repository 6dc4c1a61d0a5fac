//! The NATS server, by its own protocol in WebSocket frames.

use std::path::PathBuf;

use anyhow::ensure;
use chat_e2e::load::socket::{RawSocket, frame};
use chat_local::process::Program;
use chat_local::{ports, programs};
use tokio::process::Command;

use super::{Peer, cache, folder, start as start_peer};

const MODULE: &str = "github.com/nats-io/nats-server/v2";
const VERSION: &str = "v2.12.0";
const DIFFERS: &str = "it passes messages on, without storage, numbers, membership or notices";

pub async fn start() -> anyhow::Result<Peer> {
    let program = program().await?;
    let (folder, port, plain) = (folder("nats")?, ports::free()?, ports::free()?);
    let settings = format!(
        "host: 127.0.0.1\nport: {plain}\nwebsocket {{ host: 127.0.0.1, port: {port}, no_tls: true }}\n"
    );
    let file = folder.join("nats.conf");
    std::fs::write(&file, settings)?;
    let program = Program::new(program, &folder)
        .arg("-c")
        .arg(file.to_string_lossy());
    start_peer("nats", DIFFERS, port, program).await
}

/// Built once.
async fn program() -> anyhow::Result<PathBuf> {
    let folder = cache().join(VERSION);
    let path = folder.join("nats-server");
    if path.is_file() {
        return Ok(path);
    }
    eprintln!("building {MODULE}@{VERSION}");
    let status = Command::new(programs::need("go", "golang")?)
        .arg("install")
        .arg(format!("{MODULE}@{VERSION}"))
        .env("GOBIN", &folder)
        .status()
        .await?;
    ensure!(status.success(), "{MODULE} cannot be built: {status}");
    Ok(path)
}

pub async fn member(peer: &Peer) -> anyhow::Result<RawSocket> {
    open(peer, "SUB room 1\r\n").await
}

pub async fn writer(peer: &Peer) -> anyhow::Result<RawSocket> {
    open(peer, "").await
}

async fn open(peer: &Peer, more: &str) -> anyhow::Result<RawSocket> {
    let loopback = [127, 0, 0, 1];
    let to = (loopback, peer.port).into();
    let mut socket = RawSocket::open(to, loopback.into(), "/", &[]).await?;
    let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\n{more}PING\r\n");
    socket.sender().write(&frame(hello.as_bytes())).await?;
    loop {
        let said = socket.next().await?;
        if said.windows(4).any(|four| four == b"PONG") {
            return Ok(socket);
        }
    }
}

pub fn message(body: &str) -> Vec<u8> {
    frame(format!("PUB room {}\r\n{body}\r\n", body.len()).as_bytes())
}
