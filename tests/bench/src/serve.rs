//! The bare servers of the floors, as processes of their own so that their work can be
//! told from that of the load.

use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use chat_e2e::load::socket::RawSocket;
use chat_e2e::load::usage::Parts;
use clap::ValueEnum;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_tungstenite::accept_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Which {
    /// Says what it hears.
    Echo,
    /// Writes a ready frame to every connection when the first one says anything.
    FanOut,
}

impl Which {
    const fn word(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::FanOut => "fan-out",
        }
    }
}

/// A bare server that runs.
pub struct Bare {
    pub address: SocketAddr,
    pub parts: Parts,
    /// Killed when it is dropped.
    _child: Child,
}

impl Bare {
    pub async fn start(which: Which) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", which.word()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).await?;
        let mut parts = Parts::default();
        let pid = child.id().context("it has ended")?;
        parts.add(which.word(), pid.cast_signed());
        Ok(Self {
            address: line.trim().parse()?,
            parts,
            _child: child,
        })
    }

    pub async fn open(&self, count: usize) -> anyhow::Result<Vec<RawSocket>> {
        let mut sockets = Vec::with_capacity(count);
        for _ in 0..count {
            let from = [127, 0, 0, 1].into();
            sockets.push(RawSocket::open(self.address, from, "/", &[]).await?);
        }
        Ok(sockets)
    }
}

pub async fn run(which: Which) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?)?;
    match which {
        Which::Echo => loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(echo(stream));
        },
        Which::FanOut => fan_out(listener).await,
    }
}

/// As a server of ours would be set: small buffers, flushed by frame.
async fn echo(stream: TcpStream) -> anyhow::Result<()> {
    let config = WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(8 * 1024);
    let mut socket = accept_async_with_config(stream, Some(config)).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Nothing but `write(2)`: the first connection gives the sign, with the frame itself.
async fn fan_out(listener: TcpListener) -> anyhow::Result<()> {
    let (mut first, _) = listener.accept().await?;
    first.set_nodelay(true)?;
    upgrade(&mut first).await?;
    let mut members = Vec::new();
    let mut said = BytesMut::new();
    let mut ready: Option<Bytes> = None;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut stream, _) = accepted?;
                stream.set_nodelay(true)?;
                upgrade(&mut stream).await?;
                members.push(stream);
            }
            read = first.read_buf(&mut said) => {
                if read? == 0 {
                    return Ok(());
                }
                // One frame for each byte of a sign; the frame is the same each time.
                let frame = ready.get_or_insert_with(prebuilt).clone();
                said.clear();
                for member in &mut members {
                    member.write_all(&frame).await?;
                }
            }
        }
    }
}

/// About as long as a stored message of 256 bytes.
fn prebuilt() -> Bytes {
    const BODY: usize = 640;
    let mut frame = BytesMut::new();
    frame.put_u8(0x81);
    frame.put_u8(126);
    frame.put_u16(BODY as u16);
    frame.put_bytes(b'x', BODY);
    frame.freeze()
}

async fn upgrade(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        anyhow::ensure!(stream.read_buf(&mut head).await? > 0, "gone");
    }
    stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await?;
    Ok(())
}
