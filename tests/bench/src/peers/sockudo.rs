//! sockudo, by the Pusher protocol. Its clients speak for themselves in private channels.

use anyhow::Context;
use aws_lc_rs::hmac;
use chat_e2e::load::socket::RawSocket;
use chat_local::process::Program;
use chat_local::{ports, programs};
use serde_json::{Value, json};
use tokio::process::Command;

use super::debian::unpack;
use super::websocket::{say, wait_for};
use super::{Peer, build_once, cache, folder, start as start_peer};

const VERSION: &str = "5.2.0";
const DIFFERS: &str = "it passes messages on, without storage, numbers or notices; membership is \
    checked when somebody joins";
/// What its build asks for.
const PACKAGES: [&str; 4] = [
    "protobuf-compiler",
    "libprotobuf-dev",
    "libprotobuf32",
    "libprotoc32",
];
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const SECRET: &str = "secret";
const ROOM: &str = "private-room";
pub const PATH: &str = "/app/key?protocol=7&client=bench&version=8.4.0";

pub async fn start() -> anyhow::Result<Peer> {
    let root = cache().join(format!("sockudo-{VERSION}"));
    let program = root.join("bin/sockudo");
    let what = format!("sockudo@{VERSION}");
    let compiler = unpack("protoc", &PACKAGES, "usr/bin/protoc").await?;
    let mut cargo = Command::new(programs::need("cargo", "cargo")?);
    cargo
        .args(["install", "--quiet", "--locked", &what, "--root"])
        .arg(&root)
        .env("CARGO_TARGET_DIR", root.join("target"))
        .env("PROTOC", compiler.join("usr/bin/protoc"))
        .env("PROTOC_INCLUDE", compiler.join("usr/include"))
        .env("LD_LIBRARY_PATH", compiler.join(LIBRARIES));
    build_once(&program, &what, &mut cargo).await?;
    let (folder, port, metrics) = (folder("sockudo")?, ports::free()?, ports::free()?);
    let settings = json!({
        "host": "127.0.0.1",
        "port": port,
        "metrics": { "enabled": false, "port": metrics },
        "rate_limiter": { "enabled": false },
        "app_manager": { "array": { "apps": [{
            "id": "app",
            "key": "key",
            "secret": SECRET,
            "enabled": true,
            "policy": {
                "limits": { "max_connections": 100_000, "max_client_events_per_second": 1_000_000 },
                "features": { "enable_client_messages": true },
            },
        }] } },
    });
    let file = folder.join("sockudo.json");
    std::fs::write(&file, settings.to_string())?;
    let program = Program::new(program, &folder)
        .arg("--config")
        .arg(file.to_string_lossy())
        .env("RUST_LOG", "warn");
    start_peer("sockudo", DIFFERS, port, program).await
}

pub async fn enter(socket: &mut RawSocket) -> anyhow::Result<()> {
    let hello = wait_for(socket, "pusher:connection_established").await?;
    let hello: Value = serde_json::from_str(&hello)?;
    // JSON in JSON.
    let data: Value = serde_json::from_str(hello["data"].as_str().context("no data")?)?;
    let id = data["socket_id"].as_str().context("no id of the socket")?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("{id}:{ROOM}").as_bytes());
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let data = json!({ "channel": ROOM, "auth": format!("key:{hex}") });
    let subscribe = json!({ "event": "pusher:subscribe", "data": data });
    say(socket, &subscribe.to_string()).await?;
    wait_for(socket, "subscription_succeeded").await?;
    Ok(())
}

pub fn message(body: &str) -> String {
    json!({ "event": "client-message", "channel": ROOM, "data": body }).to_string()
}
