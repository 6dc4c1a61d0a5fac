//! The two sockets, frame by frame.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chat_events::{
    ClientFrame, ClientId, Code, ConversationId, LogEvent, MessageView, NotificationFrame,
    ServerFrame, UserId,
};
use futures::{SinkExt, StreamExt};
use reqwest::header::{COOKIE, HeaderValue, ORIGIN};
use serde::de::DeserializeOwned;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::Browser;

pub const CHAT: &str = "/ws/chat";
pub const NOTIFICATIONS: &str = "/ws/notifications/join";
/// Bytes in the receive buffer of a slow reader.
const SMALL: u32 = 4 * 1024;
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(10);

/// An open socket on which the server speaks frames of type `F`.
pub struct Socket<F> {
    stream: WebSocketStream<TcpStream>,
    /// The close code that the server said.
    code: Option<u16>,
    broken: Option<String>,
    frames: PhantomData<fn() -> F>,
}

pub type ChatSocket = Socket<ServerFrame>;
pub type NoticeSocket = Socket<NotificationFrame>;

/// What came over a socket.
#[derive(Debug)]
pub enum Incoming<F> {
    Frame(F),
    /// The close code, when the server said one.
    Closed(Option<u16>),
}

/// The server answered the upgrade with this status.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub body: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the upgrade was refused with {}: {}",
            self.status, self.body
        )
    }
}

impl std::error::Error for Refused {}

impl ChatSocket {
    pub async fn open(browser: &Browser) -> anyhow::Result<Self> {
        Self::connect(browser, CHAT, Some(&browser.site.origin)).await
    }

    /// A socket on which few frames are on their way while nobody reads.
    pub async fn open_small(browser: &Browser) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // Before the connect, so that the window that is offered is as small.
        socket.set_recv_buffer_size(SMALL)?;
        let cookies = browser.cookie_header();
        let origin = Some(browser.site.origin.as_str());
        Self::upgrade(socket, browser, CHAT, origin, cookies.as_deref()).await
    }

    pub async fn send(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        self.send_text(&serde_json::to_string(frame)?).await
    }

    /// Sends a message and returns its `client_id`.
    pub async fn say(
        &mut self,
        conversation_id: ConversationId,
        content: &str,
    ) -> anyhow::Result<ClientId> {
        let client_id = ClientId::generate();
        self.send(&ClientFrame::MessageCreate {
            client_id,
            conversation_id,
            content: content.to_owned(),
        })
        .await?;
        Ok(client_id)
    }

    /// The stored form of what was sent as `sent`.
    pub async fn await_stored(&mut self, sent: ClientId) -> anyhow::Result<MessageView> {
        self.await_frame("the stored message", ANSWER, |frame| match frame {
            ServerFrame::Log(LogEvent::Message { message, .. }) if message.client_id == sent => {
                Some(message.clone())
            }
            _ => None,
        })
        .await
    }

    /// The code of the next error or refusal.
    pub async fn await_error(&mut self) -> anyhow::Result<Code> {
        self.await_frame("an error", ANSWER, |frame| match frame {
            ServerFrame::Error { code, .. } | ServerFrame::Refused { code, .. } => Some(*code),
            _ => None,
        })
        .await
    }

    /// Waits until `who` is typing, or is not any more.
    pub async fn await_typing(
        &mut self,
        who: UserId,
        wanted: bool,
        limit: Duration,
    ) -> anyhow::Result<()> {
        self.await_frame("typing", limit, |frame| match frame {
            ServerFrame::Typing {
                user_id, active, ..
            } if *user_id == who && *active == wanted => Some(()),
            _ => None,
        })
        .await
    }
}

impl NoticeSocket {
    pub async fn join(browser: &Browser) -> anyhow::Result<Self> {
        Self::connect(browser, NOTIFICATIONS, Some(&browser.site.origin)).await
    }
}

impl<F: DeserializeOwned + std::fmt::Debug> Socket<F> {
    /// Opens a socket with the cookies of the browser. A refusal is a [`Refused`].
    pub async fn connect(
        browser: &Browser,
        path: &str,
        origin: Option<&str>,
    ) -> anyhow::Result<Self> {
        let cookies = browser.cookie_header();
        Self::connect_as(browser, path, origin, cookies.as_deref()).await
    }

    /// Opens a socket with any cookies and any Origin.
    pub async fn connect_as(
        browser: &Browser,
        path: &str,
        origin: Option<&str>,
        cookies: Option<&str>,
    ) -> anyhow::Result<Self> {
        Self::upgrade(TcpSocket::new_v4()?, browser, path, origin, cookies).await
    }

    async fn upgrade(
        socket: TcpSocket,
        browser: &Browser,
        path: &str,
        origin: Option<&str>,
        cookies: Option<&str>,
    ) -> anyhow::Result<Self> {
        let url = format!("{}{path}", browser.site.url.replacen("http", "ws", 1));
        let mut request = url.as_str().into_client_request()?;
        let authority = request.uri().authority().context("no host")?.to_string();
        let headers = request.headers_mut();
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin)?);
        }
        if let Some(cookies) = cookies {
            headers.insert(COOKIE, HeaderValue::from_str(cookies)?);
        }
        let peer = match browser.site.address {
            Some(address) => address,
            None => lookup_host(authority)
                .await?
                .find(SocketAddr::is_ipv4)
                .context("no IPv4 address")?,
        };
        socket.bind(SocketAddr::new(browser.address, 0))?;
        let opened = timeout(CONNECT, async {
            let stream = socket.connect(peer).await?;
            stream.set_nodelay(true)?;
            anyhow::Ok(client_async(request, stream).await)
        })
        .await??;
        match opened {
            Ok((stream, _)) => Ok(Self {
                stream,
                code: None,
                broken: None,
                frames: PhantomData,
            }),
            Err(tungstenite::Error::Http(response)) => {
                let status = response.status().as_u16();
                let body = response.into_body().unwrap_or_default();
                let body = String::from_utf8_lossy(&body).into_owned();
                Err(Refused { status, body }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub async fn send_text(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.stream.send(Message::text(text)).await?)
    }

    pub async fn send_message(&mut self, message: Message) -> anyhow::Result<()> {
        Ok(self.stream.send(message).await?)
    }

    /// A text frame whose bytes need not be UTF-8.
    pub async fn send_invalid_text(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let text = OpCode::Data(Data::Text);
        let frame = Frame::message(bytes.to_vec(), text, true);
        self.send_message(Message::Frame(frame)).await
    }

    /// The next frame or the end. Nothing is lost when it is dropped.
    pub async fn next(&mut self, limit: Duration) -> anyhow::Result<Incoming<F>> {
        self.next_until(Instant::now() + limit).await
    }

    async fn next_until(&mut self, deadline: Instant) -> anyhow::Result<Incoming<F>> {
        loop {
            let message = match timeout_at(deadline, self.stream.next()).await {
                Ok(message) => message,
                // The other side may be gone without its end of the handshake.
                Err(_) if self.code.is_some() => return Ok(Incoming::Closed(self.code)),
                Err(_) => bail!("the socket was silent"),
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text)
                        .with_context(|| format!("not a frame: {text}"))?;
                    return Ok(Incoming::Frame(frame));
                }
                // What follows completes the closing handshake.
                Some(Ok(Message::Close(close))) => self.code = close.map(|it| it.code.into()),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.broken = Some(error.to_string());
                    return Ok(Incoming::Closed(self.code));
                }
                None => return Ok(Incoming::Closed(self.code)),
            }
        }
    }

    /// Reads frames until `pick` takes one.
    pub async fn await_frame<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut pick: impl FnMut(&F) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            let incoming = self
                .next_until(deadline)
                .await
                .with_context(|| format!("no {what} within {limit:?}, only {seen:?}"))?;
            match incoming {
                Incoming::Frame(frame) => match pick(&frame) {
                    Some(value) => return Ok(value),
                    None => seen.push(frame),
                },
                Incoming::Closed(code) => bail!("closed with {code:?} before {what}"),
            }
        }
    }

    /// Reads everything that comes until `limit` is over.
    pub async fn collect(&mut self, limit: Duration) -> anyhow::Result<Vec<F>> {
        let deadline = Instant::now() + limit;
        let mut frames = Vec::new();
        while let Ok(incoming) = self.next_until(deadline).await {
            match incoming {
                Incoming::Frame(frame) => frames.push(frame),
                Incoming::Closed(code) => bail!("closed with {code:?}"),
            }
        }
        ensure!(Instant::now() >= deadline, "a frame could not be read");
        Ok(frames)
    }

    /// Reads until the server closes; the close code.
    pub async fn await_close(&mut self, limit: Duration) -> anyhow::Result<Option<u16>> {
        let deadline = Instant::now() + limit;
        loop {
            if let Incoming::Closed(code) = self.next_until(deadline).await? {
                return Ok(code);
            }
        }
    }

    /// What the transport said when the connection broke.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// What the server has said to end it.
    pub fn code(&self) -> Option<u16> {
        self.code
    }

    pub async fn close(mut self) -> anyhow::Result<()> {
        Ok(self.stream.close(None).await?)
    }
}
