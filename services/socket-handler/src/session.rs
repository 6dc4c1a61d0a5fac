//! One socket: one owner, one loop. It takes frames in order, hands events to
//! the broker without waiting for the last confirm, and writes what waits in
//! its mailbox. It speaks through any sink and stream of messages.

use std::error::Error;
use std::future::{Future, pending};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message};
use chat_events::{ClientFrame, ServerFrame};
use chat_kit::broker::Publisher;
use chat_kit::planted::{self, Bug};
use chat_kit::socket::{self, End, Item};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, timeout};

use crate::frame;
use crate::hub::{Hub, Mailbox, Registration};
use crate::messages::{AskError, Conversation, Messages};

mod obey;
mod resume;
mod rules;

use rules::{FrameCount, TypingState};

/// Sends and questions without an answer yet; more frames wait in the socket.
const UNDER_WAY: usize = 64;
/// Of which so many may be resumes, whose answers are large.
const RESUMING: usize = 4;
/// One heartbeat of so many names all conversations.
const FULL_HEARTBEAT: u32 = 4;
/// The last answers, and the peer's own close frame, are waited for this long.
const GOODBYE: Duration = Duration::from_secs(1);
/// A burst needs room for more items; a socket at rest keeps no more than this.
const KEPT: usize = 16;

/// What all sessions share.
pub struct Surroundings {
    pub hub: Arc<Hub>,
    pub messages: Messages,
    pub publisher: Publisher,
    pub heartbeat: u64,
}

pub struct Session<Io> {
    io: Io,
    registration: Registration,
    around: Arc<Surroundings>,
    under_way: FuturesUnordered<Boxed<Answer>>,
    resuming: usize,
    /// A frame for a conversation that this pod does not know. Frames after it
    /// wait, so that order holds.
    asking: Option<Boxed<(ClientFrame, Result<Conversation, AskError>)>>,
    count: FrameCount,
    typing: TypingState,
    beats: u32,
    /// The version of the hub at the last heartbeat.
    version: u64,
    /// What is written next.
    out: Vec<Item>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Answer {
    resume: bool,
    frame: Option<Item>,
}

impl<Io, E> Session<Io>
where
    Io: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Unpin,
    E: Error + 'static,
{
    /// Boxed, because an `async fn` has room for its arguments twice.
    pub fn new(io: Io, registration: Registration, around: Arc<Surroundings>) -> Box<Self> {
        Box::new(Self {
            io,
            registration,
            around,
            under_way: FuturesUnordered::new(),
            resuming: 0,
            asking: None,
            count: FrameCount::new(Instant::now()),
            typing: TypingState::default(),
            beats: 0,
            version: 0,
            out: Vec::new(),
        })
    }

    pub fn mailbox(&self) -> &Arc<Mailbox> {
        self.registration.mailbox()
    }

    /// Says hello, serves until the end, and returns why it came.
    pub async fn run(mut self: Box<Self>, epoch: String) -> End {
        self.hello(epoch);
        let end = self.talk().await;
        Box::pin(self.finish(end)).await;
        end
    }

    fn hello(&mut self, epoch: String) {
        let mailbox = self.registration.mailbox();
        let (positions, version) = self.around.hub.positions(mailbox.peer.user, 0);
        self.version = version;
        self.reply(&ServerFrame::Hello {
            connection_id: mailbox.peer.connection,
            user_id: mailbox.peer.user,
            expires_at: mailbox.peer.expires_at,
            heartbeat_seconds: self.around.heartbeat,
            epoch,
            positions,
        });
    }

    async fn talk(&mut self) -> End {
        let mailbox = self.registration.mailbox().clone();
        loop {
            if let Err(end) = self.write().await {
                return end;
            }
            let busy = self.asking.is_some()
                || self.under_way.len() >= UNDER_WAY
                || self.resuming >= RESUMING;
            let outcome = tokio::select! {
                end = mailbox.ended() => Err(end),
                () = mailbox.posted() => {
                    self.out = mailbox.take(mem::take(&mut self.out));
                    Ok(())
                }
                Some(answer) = self.under_way.next() => {
                    self.answer(answer);
                    Ok(())
                }
                (frame, known) = wait_for(&mut self.asking) => {
                    self.asking = None;
                    self.decide(frame, known);
                    Ok(())
                }
                message = self.io.next(), if !busy => match message {
                    None => Err(End::Gone),
                    Some(Err(error)) => Err(End::of(&error)),
                    Some(Ok(message)) => self.receive(message),
                },
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    /// Writes all that is to be said at once, unless the session ends while the peer
    /// does not read.
    async fn write(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let mailbox = self.registration.mailbox();
        let mut items = mem::take(&mut self.out);
        let writing = async {
            for item in items.drain(..) {
                let beat = item == Item::Beat;
                let item = if beat {
                    self.beats += 1;
                    let full = self.beats.is_multiple_of(FULL_HEARTBEAT);
                    let since = if full { 0 } else { self.version };
                    let (mut positions, version) =
                        self.around.hub.positions(mailbox.peer.user, since);
                    if planted::bug(Bug::NoTailCheck) {
                        positions.clear();
                    }
                    self.version = version;
                    frame::item(&ServerFrame::Heartbeat { positions })
                } else {
                    item
                };
                if let Item::Frame(kind, text) = item {
                    socket::count_sent(kind);
                    self.io.feed(Message::Text(text)).await?;
                }
                if beat {
                    self.io.feed(Message::Ping(Bytes::new())).await?;
                }
            }
            self.io.flush().await
        };
        let written = tokio::select! {
            biased;
            written = writing => written.map_err(|_: E| End::Gone),
            end = mailbox.ended() => Err(end),
        };
        if items.capacity() <= KEPT {
            self.out = items;
        }
        written
    }

    fn reply(&mut self, frame: &ServerFrame) {
        self.out.push(frame::item(frame));
    }

    /// Says an answer, and those that are ready with it.
    fn answer(&mut self, first: Answer) {
        let mut next = Some(first);
        while let Some(answer) = next {
            self.resuming -= usize::from(answer.resume);
            self.out.extend(answer.frame);
            next = self.under_way.next().now_or_never().flatten();
        }
    }

    async fn finish(&mut self, end: End) {
        for conversation in self.typing.active() {
            self.tell_typing(conversation, false);
        }
        if end == End::Silent {
            return;
        }
        let io = &mut self.io;
        let goodbye = async {
            if matches!(end, End::Stopping | End::Expired) {
                // What was taken is answered, so that it need not be sent again.
                let answers =
                    mem::take(&mut self.under_way).filter_map(async |answer| answer.frame);
                let answers: Vec<Item> = timeout(GOODBYE, answers.collect())
                    .await
                    .unwrap_or_default();
                let posted = self.registration.mailbox().take(Vec::new());
                for item in answers.into_iter().chain(posted) {
                    if let Item::Frame(_, text) = item {
                        io.feed(Message::Text(text)).await?;
                    }
                }
            }
            if let Some(code) = end.code() {
                let frame = CloseFrame {
                    code,
                    reason: end.reason().into(),
                };
                io.send(Message::Close(Some(frame))).await?;
            }
            // Until the peer has closed too: a reset would overtake our frame.
            while io.next().await.transpose()?.is_some() {}
            Ok::<_, E>(())
        };
        // A peer that does not take part is left.
        let _ = timeout(2 * GOODBYE, goodbye).await;
    }
}

async fn wait_for<T>(asking: &mut Option<Boxed<T>>) -> T {
    match asking {
        Some(asking) => asking.await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
