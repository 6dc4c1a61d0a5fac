//! A WebSocket without comfort: whole frames as bytes, ready to be written and as
//! they came. A client that reads JSON would cost more than the server does.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use tokio::net::{TcpSocket, TcpStream};

const TEXT: u8 = 0x81;
/// What some peers speak.
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// What a client says is masked; with a key of nothing the bytes stay as they are.
const MASKED: u8 = 0x80;
const KEY: [u8; 4] = [0; 4];
const READ: usize = 16 * 1024;
/// Of an answer to an upgrade.
const HEAD: usize = 8 * 1024;

/// One connection. Pings are answered while frames are taken.
pub struct RawSocket {
    stream: Arc<TcpStream>,
    buffer: BytesMut,
}

/// Writes to a socket that somebody else reads.
#[derive(Clone)]
pub struct RawSender(Arc<TcpStream>);

impl RawSocket {
    /// Connects from a local address of one's choice.
    ///
    /// # Errors
    /// When the server does not answer with an upgrade; its answer is told.
    pub async fn open(
        to: SocketAddr,
        from: IpAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        let mut socket = Self {
            stream: Arc::new(stream),
            buffer: BytesMut::new(),
        };
        let more: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n"
        );
        socket.sender().write(request.as_bytes()).await?;
        let end = loop {
            let end = socket
                .buffer
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            ensure!(socket.buffer.len() < HEAD, "an answer without an end");
            socket.fill().await.context("before the upgrade")?;
        };
        let head = socket.buffer.split_to(end);
        if !head.starts_with(b"HTTP/1.1 101") {
            let rest = String::from_utf8_lossy(&socket.buffer).into_owned();
            bail!("no upgrade: {}{rest}", String::from_utf8_lossy(&head));
        }
        Ok(socket)
    }

    pub fn sender(&self) -> RawSender {
        RawSender(self.stream.clone())
    }

    /// The next frame that has arrived already.
    ///
    /// # Errors
    /// When the server closed; the code is told.
    pub fn take(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            let Some((opcode, length, body)) = head_of(&self.buffer) else {
                return Ok(None);
            };
            if self.buffer.len() < length + body {
                self.buffer.reserve(length + body - self.buffer.len());
                return Ok(None);
            }
            self.buffer.advance(length);
            let body = self.buffer.split_to(body).freeze();
            match opcode {
                TEXT | BINARY => return Ok(Some(body)),
                // Nobody waits for it: a peer that cannot take six bytes is stuck anyway.
                PING => _ = self.stream.try_write(&pong()),
                PONG => {}
                CLOSE => {
                    let code = body.first_chunk().map(|code| u16::from_be_bytes(*code));
                    bail!("closed by the server with {code:?}");
                }
                other => bail!("a frame of the kind {other:#x}"),
            }
        }
    }

    /// Waits for more bytes. Nothing is lost when it is dropped.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn fill(&mut self) -> io::Result<()> {
        loop {
            self.stream.readable().await?;
            self.buffer.reserve(READ);
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn next(&mut self) -> anyhow::Result<Bytes> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// Answers the pings that have come, and drops what else has; does not wait.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn skim(&mut self) -> anyhow::Result<()> {
        loop {
            self.buffer.reserve(READ);
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => bail!("the connection has ended"),
                Ok(_) => while self.take()?.is_some() {},
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.rest();
        Ok(())
    }

    /// Gives back the memory of what was read, before a long rest.
    pub fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}

impl RawSender {
    /// Writes bytes as they are; see [`frame`].
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A text frame of a client.
pub fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![TEXT];
    match text.len() {
        short @ 0..126 => frame.push(MASKED | short as u8),
        middle @ 126..65_536 => {
            frame.push(MASKED | 126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(MASKED | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(text);
    frame
}

fn pong() -> [u8; 6] {
    let [a, b, c, d] = KEY;
    [PONG, MASKED, a, b, c, d]
}

/// Kind, length of the head and length of the body of the frame that begins here.
fn head_of(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, length) = (*buffer.first()?, *buffer.get(1)?);
    match length & !MASKED {
        126 => {
            let length = buffer[2..].first_chunk()?;
            Some((opcode, 4, usize::from(u16::from_be_bytes(*length))))
        }
        127 => {
            let length = buffer[2..].first_chunk()?;
            Some((
                opcode,
                10,
                usize::try_from(u64::from_be_bytes(*length)).ok()?,
            ))
        }
        short => Some((opcode, 2, usize::from(short))),
    }
}

#[cfg(test)]
mod tests {
    use super::{KEY, MASKED, TEXT, frame, head_of};

    #[test]
    fn frames_of_every_length_are_read_as_they_were_written() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            let text = vec![b'x'; length];
            let mut frame = frame(&text);
            let (kind, head, body) = head_of(&frame).expect("a whole head");
            assert_eq!((kind, body), (TEXT, length));
            assert_ne!(frame[1] & MASKED, 0, "a client masks what it says");
            assert_eq!(frame.split_off(head + KEY.len()), text);
        }
    }

    #[test]
    fn half_a_head_is_waited_for() {
        for length in [1, 200, 70_000] {
            let frame = frame(&vec![b'x'; length]);
            let (_, head, _) = head_of(&frame).expect("a whole head");
            for cut in 0..head {
                assert_eq!(head_of(&frame[..cut]), None, "{cut} of {head}");
            }
        }
    }
}
