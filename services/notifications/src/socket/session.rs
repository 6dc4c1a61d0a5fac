//! One socket from hello to close: one owner, one loop.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use chat_events::{Code, NotificationFrame, limits};
use chat_kit::identity::Identity;
use chat_kit::metrics as names;
use chat_kit::presence::Presence;
use futures::{SinkExt, StreamExt};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite;

use super::hub::{Seat, encode};
use super::mailbox::{End, Item};

/// A peer gets this long to take the close frame.
const GOODBYE: Duration = Duration::from_secs(1);
/// Clients of a stopping pod come back spread over this time.
const COME_BACK: Duration = Duration::from_secs(5);

pub struct Session {
    seat: Seat,
    identity: Identity,
    presence: Presence,
    /// When the current window of client frames began, and how many came.
    window: Instant,
    frames: u32,
}

impl Session {
    pub fn new(seat: Seat, identity: Identity, presence: Presence) -> Self {
        Self {
            seat,
            identity,
            presence,
            window: Instant::now(),
            frames: 0,
        }
    }

    pub async fn run(mut self, mut socket: WebSocket, hello: NotificationFrame) {
        let user = self.seat.mailbox.member.map(|member| member.user);
        let end = match self.write(&mut socket, vec![frame(&hello)]).await {
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
        let label = end
            .code()
            .map_or_else(|| end.reason().to_owned(), |code| code.to_string());
        metrics::counter!(names::SOCKETS_CLOSED, "code" => label).increment(1);
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
                    Some(Err(error)) => return end_of(error),
                },
                () = mailbox.posted() => {
                    if self.was_revoked() {
                        return End::Revoked;
                    }
                    let messages = self.seat.mailbox.take().into_iter().flat_map(messages).collect();
                    if let Err(end) = self.write(socket, messages).await {
                        return end;
                    }
                }
            }
        }
    }

    /// The push may have been missed, while the list is fetched all the time.
    fn was_revoked(&self) -> bool {
        self.seat
            .mailbox
            .member
            .is_some_and(|member| self.identity.is_revoked(member.session))
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
                self.seat.mailbox.post(Item::Frame(encode(&error)));
            }
        }
        Ok(())
    }

    /// Writes all, then flushes once. Gives up when the session has to end.
    async fn write(&self, socket: &mut WebSocket, messages: Vec<Message>) -> Result<(), End> {
        let count = messages.len() as u64;
        let write = async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        tokio::select! {
            biased;
            end = self.seat.mailbox.ended() => Err(end),
            written = write => {
                metrics::counter!(names::FRAMES, "direction" => "out", "type" => "any")
                    .increment(count);
                written.map_err(end_of)
            }
        }
    }
}

fn frame(frame: &NotificationFrame) -> Message {
    Message::Text(encode(frame))
}

/// A heartbeat is a frame for the client's code, and a ping that a browser
/// answers by itself.
fn messages(item: Item) -> impl Iterator<Item = Message> {
    let [first, second] = match item {
        Item::Frame(text) => [Some(Message::Text(text)), None],
        Item::Beat => [
            Some(frame(&NotificationFrame::Heartbeat {})),
            Some(Message::Ping(axum::body::Bytes::new())),
        ],
    };
    first.into_iter().chain(second)
}

fn end_of(error: axum::Error) -> End {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => End::TooBig,
        Some(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )) => End::Gone,
        Some(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => End::Protocol,
        _ => End::Gone,
    }
}

async fn say_goodbye(socket: &mut WebSocket, end: End) {
    let goodbye = async {
        if end == End::Stopping {
            let delay_ms = rand::random_range(0..COME_BACK.as_millis() as u64);
            let going = NotificationFrame::GoingAway { delay_ms };
            socket.feed(frame(&going)).await?;
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
        if matches!(end, End::TooBig | End::Protocol) {
            // What the peer still sends cannot be read any more.
            std::future::pending::<()>().await;
        }
        Ok::<_, axum::Error>(())
    };
    // Whoever does not take it in time, finds the connection closed.
    let _ = timeout(GOODBYE, goodbye).await;
}
