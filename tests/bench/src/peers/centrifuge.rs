//! The Centrifuge library, in a server of a few lines (`tests/bench/peers/centrifuge`).

use std::path::Path;

use chat_e2e::load::socket::RawSocket;
use chat_local::process::Program;
use chat_local::{ports, programs};
use tokio::process::Command;

use super::websocket::{say, wait_for};
use super::{Peer, build_once, cache, folder, start as start_peer};

const VERSION: &str = "v0.40.1";
const DIFFERS: &str = "it passes messages on, without storage, numbers, membership or notices";

pub async fn start() -> anyhow::Result<Peer> {
    let program = cache().join(format!("centrifuge-{VERSION}"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/centrifuge");
    let what = format!("a server with the Centrifuge library {VERSION}");
    let mut go = Command::new(programs::need("go", "golang")?);
    go.arg("build").arg("-o").arg(&program).current_dir(source);
    build_once(&program, &what, &mut go).await?;
    let (folder, port) = (folder("centrifuge")?, ports::free()?);
    let program = Program::new(program, &folder).arg(format!("127.0.0.1:{port}"));
    start_peer("centrifuge", DIFFERS, port, program).await
}

pub async fn enter(socket: &mut RawSocket, hears: bool) -> anyhow::Result<()> {
    say(socket, r#"{"id":1,"connect":{}}"#).await?;
    wait_for(socket, r#""id":1,"#).await?;
    if hears {
        say(socket, r#"{"id":2,"subscribe":{"channel":"room"}}"#).await?;
        wait_for(socket, r#""id":2,"#).await?;
    }
    Ok(())
}

pub fn message(body: &str) -> String {
    format!(r#"{{"id":3,"publish":{{"channel":"room","data":"{body}"}}}}"#)
}
