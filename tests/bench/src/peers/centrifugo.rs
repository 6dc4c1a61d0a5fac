//! Centrifugo with its engine in memory, by its JSON protocol.

use chat_e2e::load::socket::{RawSocket, frame};
use chat_local::ports;
use chat_local::process::Program;
use serde_json::json;

use super::{Peer, folder, go_install, open, start as start_peer};

const MODULE: &str = "github.com/centrifugal/centrifugo/v6";
const VERSION: &str = "v6.3.1";
const DOES_NOT: &str = "no storage and no membership: it passes messages on";

pub async fn start() -> anyhow::Result<Peer> {
    let program = go_install(MODULE, VERSION, "centrifugo").await?;
    let (folder, port) = (folder("centrifugo")?, ports::free()?);
    let settings = json!({
        "http_server": { "address": "127.0.0.1", "port": port },
        "client": { "insecure": true, "allowed_origins": ["*"] },
        "log": { "level": "error" },
    });
    let file = folder.join("centrifugo.json");
    std::fs::write(&file, settings.to_string())?;
    let program = Program::new(program, &folder)
        .arg("-c")
        .arg(file.to_string_lossy());
    start_peer("centrifugo", DOES_NOT, port, program).await
}

pub async fn member(peer: &Peer) -> anyhow::Result<RawSocket> {
    let mut socket = open(peer, "/connection/websocket").await?;
    for command in [
        json!({ "id": 1, "connect": {} }),
        json!({ "id": 2, "subscribe": { "channel": "room" } }),
    ] {
        let sender = socket.sender();
        sender.write(&frame(command.to_string().as_bytes())).await?;
        let answer = socket.next().await?;
        anyhow::ensure!(
            !answer.windows(7).any(|seven| seven == b"\"error\""),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(socket)
}

pub fn message(body: &str) -> Vec<u8> {
    let publish = json!({ "id": 3, "publish": { "channel": "room", "data": { "text": body } } });
    frame(publish.to_string().as_bytes())
}
