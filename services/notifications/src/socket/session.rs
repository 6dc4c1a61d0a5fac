//! One socket from hello to close: one owner, one loop.

use std::time::Duration;

use axum::Error;
use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use chat_events::{Code, NotificationFrame, limits};
use chat_kit::metrics as names;
use chat_kit::presence::Presence;
use chat_kit::socket::{End, Item};
use futures::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};

use super::hub::{Seat, item};

/// A peer gets this long to take the close frame.
const GOODBYE: Duration = Duration::from_secs(1);
/// Clients of a stopping pod come back spread over this time.
const COME_BACK: Duration = Duration::from_secs(5);

pub struct Session {
    seat: Seat,
    presence: Presence,
    /// When the current window of client frames began, and how many came.
    window: Instant,
    frames: u32,
}

impl Session {
    pub fn new(seat: Seat, presence: Presence) -> Self {
        Self {
            seat,
            presence,
            window: Instant::now(),
            frames: 0,
        }
    }

    pub async fn run(mut self, mut socket: WebSocket, hello: NotificationFrame) {
        let user = self.seat.mailbox.peer.map(|member| member.user);
        let end = match self.write(&mut socket, vec![item(&hello)]).await {
            Ok(()) => {
                if let Some(user) = user {
                    self.presence.opened(user).await;
                }
                let end = self.follow(&mut socket).await;
                if let Some(user) = user {
                    self.presence.closed(user).await;
                }
                end
            }
            Err(end) => end,
        };
        metrics::counter!(names::SOCKETS_CLOSED, "code" => end.label()).increment(1);
        say_goodbye(&mut socket, end).await;
    }

    async fn follow(&mut self, socket: &mut WebSocket) -> End {
        loop {
            let mailbox = &self.seat.mailbox;
            tokio::select! {
                biased;
                end = mailbox.ended() => return end,
                incoming = socket.next() => match incoming {
                    None => return End::Gone,
                    Some(Ok(message)) => {
                        if let Err(end) = self.hear(&message) {
                            return end;
                        }
                    }
                    Some(Err(error)) => return End::of(&error),
                },
                () = mailbox.posted() => {
                    let items = mailbox.take(Vec::new());
                    if let Err(end) = self.write(socket, items).await {
                        return end;
                    }
                }
            }
        }
    }

    /// A client has nothing to say here; more than a few frames end the session.
    fn hear(&mut self, message: &Message) -> Result<(), End> {
        self.seat.mailbox.hear();
        match message {
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(_) => return Err(End::Gone),
            Message::Text(_) | Message::Binary(_) => {
                metrics::counter!(names::FRAMES, "direction" => "in", "type" => "any").increment(1);
                if self.window.elapsed() > limits::FRAME_WINDOW {
                    self.window = Instant::now();
                    self.frames = 0;
                }
                self.frames += 1;
                if self.frames > limits::FRAMES_PER_WINDOW {
                    return Err(End::TooManyFrames);
                }
                let detail = "This socket takes no frames.".to_owned();
                let code = Code::InvalidFrame;
                let error = NotificationFrame::Error { code, detail };
                self.seat.mailbox.post(item(&error));
            }
        }
        Ok(())
    }

    /// Writes all, then flushes once. Gives up when the session has to end.
    async fn write(&self, socket: &mut WebSocket, items: Vec<Item>) -> Result<(), End> {
        let write = async {
            for waiting in items {
                match waiting {
                    Item::Frame(kind, text) => feed(socket, kind, text).await?,
                    // A frame for the client's code, and a ping that a browser
                    // answers by itself.
                    Item::Beat => {
                        if let Item::Frame(kind, text) = item(&NotificationFrame::Heartbeat {}) {
                            feed(socket, kind, text).await?;
                        }
                        socket.feed(Message::Ping(Bytes::new())).await?;
                    }
                }
            }
            socket.flush().await
        };
        tokio::select! {
            biased;
            end = self.seat.mailbox.ended() => Err(end),
            written = write => written.map_err(|error| End::of(&error)),
        }
    }
}

async fn feed(socket: &mut WebSocket, kind: &'static str, text: Utf8Bytes) -> Result<(), Error> {
    metrics::counter!(names::FRAMES, "direction" => "out", "type" => kind).increment(1);
    socket.feed(Message::Text(text)).await
}

async fn say_goodbye(socket: &mut WebSocket, end: End) {
    let goodbye = async {
        if end == End::Stopping {
            let delay_ms = rand::random_range(0..COME_BACK.as_millis() as u64);
            let going = NotificationFrame::GoingAway { delay_ms };
            if let Item::Frame(kind, text) = item(&going) {
                feed(socket, kind, text).await?;
            }
        }
        if let Some(code) = end.code() {
            let reason = end.reason().into();
            let close = Message::Close(Some(CloseFrame { code, reason }));
            socket.feed(close).await?;
        }
        socket.flush().await?;
        // Until the peer has closed too: bytes of it that nobody read would
        // destroy the close frame on its way.
        while let Some(Ok(_)) = socket.next().await {}
        if matches!(end, End::TooBig | End::Protocol(_)) {
            // What the peer still sends cannot be read any more.
            std::future::pending::<()>().await;
        }
        Ok::<_, Error>(())
    };
    // Whoever does not take it in time, finds the connection closed.
    let _ = timeout(GOODBYE, goodbye).await;
}
