//! The NATS server, by its own protocol in WebSocket frames.

use chat_e2e::load::socket::{RawSocket, frame};
use chat_local::ports;
use chat_local::process::Program;

use super::{Peer, folder, go_install, open, start as start_peer};

const MODULE: &str = "github.com/nats-io/nats-server/v2";
const VERSION: &str = "v2.12.0";
const DOES_NOT: &str =
    "no storage, no numbers, no membership and no receipt: it passes messages on";

pub async fn start() -> anyhow::Result<Peer> {
    let program = go_install(MODULE, VERSION, "nats-server").await?;
    let (folder, port) = (folder("nats")?, ports::free()?);
    let settings = format!(
        "host: 127.0.0.1\nport: {}\nwebsocket {{ host: 127.0.0.1, port: {port}, no_tls: true }}\n",
        ports::free()?
    );
    let file = folder.join("nats.conf");
    std::fs::write(&file, settings)?;
    let program = Program::new(program, &folder)
        .arg("-c")
        .arg(file.to_string_lossy());
    start_peer("nats", DOES_NOT, port, program).await
}

pub async fn member(peer: &Peer) -> anyhow::Result<RawSocket> {
    let mut socket = open(peer, "/").await?;
    let hello =
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\nSUB room 1\r\nPING\r\n";
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
