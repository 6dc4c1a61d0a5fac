//! The NATS server, by its own protocol.

use chat_e2e::load::socket::RawSocket;
use chat_local::process::Program;
use chat_local::{ports, programs};
use tokio::process::Command;

use super::websocket::{say, wait_for};
use super::{Peer, build_once, cache, folder, start as start_peer};

const MODULE: &str = "github.com/nats-io/nats-server/v2";
const VERSION: &str = "v2.12.0";
const DIFFERS: &str = "it passes messages on, without storage, numbers, membership or notices";

pub async fn start() -> anyhow::Result<Peer> {
    let bin = cache().join(VERSION);
    let program = bin.join("nats-server");
    let what = format!("{MODULE}@{VERSION}");
    let mut go = Command::new(programs::need("go", "golang")?);
    build_once(
        &program,
        &what,
        go.args(["install", &what]).env("GOBIN", &bin),
    )
    .await?;
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

pub async fn enter(socket: &mut RawSocket, hears: bool) -> anyhow::Result<()> {
    let subscribe = if hears { "SUB room 1\r\n" } else { "" };
    let hello = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
    say(socket, &format!("{hello}{subscribe}PING\r\n")).await?;
    wait_for(socket, "PONG").await?;
    Ok(())
}

pub fn message(body: &str) -> String {
    format!("PUB room {}\r\n{body}\r\n", body.len())
}
