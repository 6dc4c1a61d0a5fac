//! Sockets at rest, in a process of their own: no process may have as many files open as
//! there are sockets in a benchmark.

use std::io::{Write, stdin};
use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, ensure};
use chat_e2e::load::Door;
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Sockets of one process; 20,000 open files are a usual limit.
pub const MOST: usize = 15_000;
pub const AT_ONCE: usize = 64;
const OPEN: &str = "open";

/// Who opens what.
#[derive(Serialize, Deserialize)]
struct Order {
    to: SocketAddr,
    origin: String,
    before: u32,
    tokens: Vec<String>,
}

/// A process that holds sockets until it is dropped.
pub struct Crowd {
    child: Child,
}

impl Crowd {
    /// Comes back when a socket is open for each of the tokens; `before` were opened by
    /// others.
    pub async fn open(door: &Door, before: usize, tokens: Vec<String>) -> anyhow::Result<Self> {
        ensure!(tokens.len() <= MOST, "a process holds {MOST} sockets");
        let mut child = Command::new(std::env::current_exe()?)
            .arg("crowd")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let order = Order {
            to: door.address(),
            origin: door.origin().to_owned(),
            before: u32::try_from(before)?,
            tokens,
        };
        let mut input = child.stdin.take().context("no input")?;
        input.write_all(&serde_json::to_vec(&order)?).await?;
        // What ends the order.
        drop(input);
        let output = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).await?;
        ensure!(line.trim() == OPEN, "the sockets could not be opened");
        Ok(Self { child })
    }

    pub fn pid(&self) -> anyhow::Result<i32> {
        Ok(self.child.id().context("it has ended")?.cast_signed())
    }

    /// # Errors
    /// When a socket was closed meanwhile.
    pub fn still_there(&mut self) -> anyhow::Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(ended.is_none(), "a socket was closed while it rested");
        Ok(())
    }
}

/// Opens what the input says, and holds it.
pub async fn run() -> anyhow::Result<()> {
    // There is nothing else to do before it is there.
    let order: Order = serde_json::from_reader(stdin().lock())?;
    let door = Door::at(order.to, order.origin, order.before);
    let mut resting = JoinSet::new();
    for some in order.tokens.chunks(AT_ONCE) {
        for mut socket in try_join_all(some.iter().map(|token| door.open(token))).await? {
            resting.spawn(async move {
                loop {
                    match socket.next().await {
                        Ok(_) => socket.rest(),
                        Err(error) => return error,
                    }
                }
            });
        }
    }
    writeln!(std::io::stdout(), "{OPEN}")?;
    match resting.join_next().await {
        Some(ended) => Err(ended?),
        None => Ok(()),
    }
}
