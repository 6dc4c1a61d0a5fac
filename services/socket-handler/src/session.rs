//! One socket: one owner, one loop. It takes frames in order, hands events to
//! the broker without waiting for the last confirm, and writes what waits in
//! its mailbox. It speaks through any sink and stream of messages.

use std::error::Error;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message};
use chat_events::{
    ClientFrame, ClientId, Code, ConversationId, Event, MessageSent, ReadRequested, Recorded,
    ServerFrame, Typing,
};
use chat_kit::broker::Publisher;
use chat_kit::{metrics as names, trace};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite;

use crate::hub::{End, Hub, Item, Registration};
use crate::messages::{AskError, Conversation, Events, Messages};

mod rules;

use rules::{CONFIRM, FrameCount, Pace, TypingState, invalid_frame, later};

/// Sends and questions without an answer yet; more frames wait in the socket.
const UNDER_WAY: usize = 64;
/// Of which so many may be resumes, whose answers are large.
const RESUMING: usize = 4;
/// One heartbeat of so many names all conversations.
const FULL_HEARTBEAT: u32 = 4;
/// The last answers, and the peer's own close frame, are waited for this long.
const GOODBYE: Duration = Duration::from_secs(1);
/// The peer sent text that is not UTF-8 (RFC 6455).
const INVALID_TEXT: u16 = 1007;
const PROTOCOL_ERROR: u16 = 1002;

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
    spare: Vec<Item>,
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
    pub fn new(io: Io, registration: Registration, around: Arc<Surroundings>) -> Self {
        Self {
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
            spare: Vec::new(),
        }
    }

    /// Says hello, serves until the end, and returns why it came.
    pub async fn run(mut self, epoch: String) -> End {
        let end = match self.hello(epoch).await {
            Ok(()) => self.talk().await,
            Err(end) => end,
        };
        Box::pin(self.finish(end)).await;
        end
    }

    async fn hello(&mut self, epoch: String) -> Result<(), End> {
        let mailbox = self.registration.mailbox();
        let (positions, version) = self.around.hub.positions(mailbox.user, 0);
        self.version = version;
        let hello = ServerFrame::Hello {
            connection_id: mailbox.connection,
            user_id: mailbox.user,
            expires_at: mailbox.expires_at,
            heartbeat_seconds: self.around.heartbeat,
            epoch,
            positions,
        };
        self.write(vec![Item::frame(&hello)]).await
    }

    async fn talk(&mut self) -> End {
        let mailbox = self.registration.mailbox().clone();
        loop {
            let busy = self.asking.is_some()
                || self.under_way.len() >= UNDER_WAY
                || self.resuming >= RESUMING;
            let outcome = tokio::select! {
                () = mailbox.ended() => Err(mailbox.ending().unwrap_or(End::Gone)),
                () = mailbox.posted() => {
                    let items = mailbox.take(std::mem::take(&mut self.spare));
                    self.write(items).await
                }
                Some(answer) = self.under_way.next() => self.answer(answer).await,
                (frame, known) = wait_for(&mut self.asking) => {
                    self.asking = None;
                    self.decide(frame, known).await
                }
                message = self.io.next(), if !busy => match message {
                    None => Err(End::Gone),
                    Some(Err(error)) => Err(fault(&error)),
                    Some(Ok(message)) => self.receive(message).await,
                },
            };
            if let Err(end) = outcome {
                return end;
            }
        }
    }

    /// Writes all items at once, unless the session ends while the peer does
    /// not read.
    async fn write(&mut self, mut items: Vec<Item>) -> Result<(), End> {
        let mailbox = self.registration.mailbox().clone();
        let writing = async {
            for item in items.drain(..) {
                match item {
                    Item::Frame(kind, text) => {
                        metrics::counter!(names::FRAMES, "direction" => "out", "type" => kind)
                            .increment(1);
                        self.io.feed(Message::Text(text)).await?;
                    }
                    Item::Beat => {
                        self.beats += 1;
                        let full = self.beats.is_multiple_of(FULL_HEARTBEAT);
                        let since = if full { 0 } else { self.version };
                        let (positions, version) = self.around.hub.positions(mailbox.user, since);
                        self.version = version;
                        let heartbeat = Item::frame(&ServerFrame::Heartbeat { positions });
                        if let Item::Frame(kind, text) = heartbeat {
                            metrics::counter!(names::FRAMES, "direction" => "out", "type" => kind)
                                .increment(1);
                            self.io.feed(Message::Text(text)).await?;
                        }
                        self.io.feed(Message::Ping(Default::default())).await?;
                    }
                }
            }
            self.io.flush().await
        };
        let written = tokio::select! {
            biased;
            written = writing => written.map_err(|_: E| End::Gone),
            () = mailbox.ended() => Err(mailbox.ending().unwrap_or(End::Gone)),
        };
        self.spare = items;
        written
    }

    async fn reply(&mut self, frame: &ServerFrame) -> Result<(), End> {
        self.write(vec![Item::frame(frame)]).await
    }

    /// Writes an answer, and those that are ready with it.
    async fn answer(&mut self, first: Answer) -> Result<(), End> {
        let mut items = Vec::new();
        let mut next = Some(first);
        while let Some(answer) = next {
            self.resuming -= usize::from(answer.resume);
            items.extend(answer.frame);
            next = self.under_way.next().now_or_never().flatten();
        }
        self.write(items).await
    }

    async fn receive(&mut self, message: Message) -> Result<(), End> {
        self.registration.mailbox().hear();
        let pace = match message {
            Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
            _ => self.count.one_more(Instant::now()),
        };
        let read = match &message {
            Message::Text(text) => rules::read(text),
            Message::Binary(_) => Err(invalid_frame("frames are text".into())),
            _ => return self.too_fast(pace, None).await,
        };
        let kind = read.as_ref().map_or("invalid", kind_in);
        metrics::counter!(names::FRAMES, "direction" => "in", "type" => kind).increment(1);
        if pace != Pace::Fine {
            let client_id = read.ok().as_ref().and_then(client_id);
            return self.too_fast(pace, client_id).await;
        }
        match read {
            Ok(frame) => self.obey(frame).await,
            Err(error) => self.reply(&error).await,
        }
    }

    async fn too_fast(&mut self, pace: Pace, client_id: Option<ClientId>) -> Result<(), End> {
        match pace {
            Pace::Fine => Ok(()),
            Pace::TooFast => self.reply(&later(Code::Throttled, client_id)).await,
            Pace::MuchTooFast => Err(End::TooManyFrames),
        }
    }

    /// Each frame is checked against the membership of now, not of the connect.
    async fn obey(&mut self, frame: ClientFrame) -> Result<(), End> {
        let mailbox = self.registration.mailbox();
        let conversation = conversation(&frame);
        let member = self.around.hub.is_member(conversation, mailbox.user);
        match frame {
            ClientFrame::Typing { active, .. } => {
                if member == Some(true) && self.typing.passes(conversation, active, Instant::now())
                {
                    self.tell_typing(conversation, active);
                }
                Ok(())
            }
            ClientFrame::Resume { after, .. } => {
                self.resuming += 1;
                let (around, mailbox) = (self.around.clone(), mailbox.clone());
                self.under_way.push(Box::pin(async move {
                    let events = around.messages.events(&mailbox.token, conversation, after);
                    Answer {
                        resume: true,
                        frame: Some(Item::frame(&resumed(conversation, after, events.await))),
                    }
                }));
                Ok(())
            }
            ClientFrame::MessageCreate { .. } | ClientFrame::MessageRead { .. } => match member {
                Some(true) => self.publish(frame).await,
                Some(false) => self.reply(&not_found(&frame)).await,
                None => {
                    let (around, mailbox) = (self.around.clone(), mailbox.clone());
                    self.asking = Some(Box::pin(async move {
                        let asked = around.messages.conversation(&mailbox.token, conversation);
                        (frame, asked.await)
                    }));
                    Ok(())
                }
            },
        }
    }

    async fn decide(
        &mut self,
        frame: ClientFrame,
        known: Result<Conversation, AskError>,
    ) -> Result<(), End> {
        match known {
            Ok(known) => {
                let members: Vec<_> = known.members.iter().map(|one| one.user_id).collect();
                self.around.hub.learn(known.id, &members, known.seq);
                if members.contains(&self.registration.mailbox().user) {
                    self.publish(frame).await
                } else {
                    self.reply(&not_found(&frame)).await
                }
            }
            Err(AskError::NotFound) => self.reply(&not_found(&frame)).await,
            Err(AskError::Unauthenticated) => {
                let error = later(Code::Unauthenticated, client_id(&frame));
                self.reply(&error).await
            }
            Err(AskError::Unavailable(error)) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "cannot ask messages for members"
                );
                let error = later(Code::Unavailable, client_id(&frame));
                self.reply(&error).await
            }
        }
    }

    /// Hands the event over before the next frame is taken; the confirm comes later.
    async fn publish(&mut self, frame: ClientFrame) -> Result<(), End> {
        let mailbox = self.registration.mailbox();
        let user_id = mailbox.user;
        let client_id = client_id(&frame);
        let event = match frame {
            ClientFrame::MessageCreate {
                client_id,
                conversation_id,
                content,
            } => Event::MessageSent(MessageSent {
                conversation_id,
                sender_id: user_id,
                client_id,
                content,
            }),
            ClientFrame::MessageRead {
                conversation_id,
                up_to,
            } => Event::MessageRead(ReadRequested {
                conversation_id,
                user_id,
                up_to,
            }),
            ClientFrame::Typing { .. } | ClientFrame::Resume { .. } => return Ok(()),
        };
        let trace = trace::start();
        tracing::debug!(
            trace_id = trace::id(&trace),
            socket.connection = %mailbox.connection,
            user.id = %user_id,
            event = event.routing_key(),
            "took an event from a socket"
        );
        let confirm = match self
            .around
            .publisher
            .enqueue(Recorded::new(event, Some(trace)))
        {
            Ok(confirm) => confirm,
            Err(error) => {
                tracing::warn!(error = %error, "cannot publish");
                return self.reply(&later(Code::Unavailable, client_id)).await;
            }
        };
        self.under_way.push(Box::pin(async move {
            let frame = match (timeout(CONFIRM, confirm).await, client_id) {
                (Ok(Ok(())), None) => None,
                (Ok(Ok(())), Some(client_id)) => Some(ServerFrame::Accepted { client_id }),
                // The event may still arrive; the client repeats it with the same id.
                (Ok(Err(_)) | Err(_), _) => Some(later(Code::Unavailable, client_id)),
            };
            Answer {
                resume: false,
                frame: frame.as_ref().map(Item::frame),
            }
        }));
        Ok(())
    }

    fn tell_typing(&self, conversation_id: ConversationId, active: bool) {
        let typing = Event::Typing(Typing {
            conversation_id,
            user_id: self.registration.mailbox().user,
            active,
        });
        self.around
            .publisher
            .hint(Recorded::new(typing, trace::current()));
    }

    async fn finish(mut self, end: End) {
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
                let answers = self.under_way.filter_map(async |answer| answer.frame);
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

fn resumed(
    conversation_id: ConversationId,
    after: i64,
    events: Result<Events, AskError>,
) -> ServerFrame {
    match events {
        // The client knows more than there is: what it knows is void.
        Ok(events) if events.seq < after => ServerFrame::Resync {
            conversation_id: Some(conversation_id),
        },
        Ok(events) => ServerFrame::Resumed {
            conversation_id,
            events: events.events,
            complete: events.complete,
        },
        // All or nothing; over HTTP the client learns what there is.
        Err(AskError::NotFound) => ServerFrame::Resync {
            conversation_id: Some(conversation_id),
        },
        Err(AskError::Unauthenticated) => later(Code::Unauthenticated, None),
        Err(AskError::Unavailable(error)) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "cannot ask messages for events"
            );
            later(Code::Unavailable, None)
        }
    }
}

/// Strangers learn nothing, not even that the conversation exists.
fn not_found(frame: &ClientFrame) -> ServerFrame {
    match frame {
        ClientFrame::MessageCreate {
            client_id,
            conversation_id,
            ..
        } => ServerFrame::Refused {
            client_id: *client_id,
            conversation_id: *conversation_id,
            code: Code::NotFound,
            detail: Code::NotFound.title().to_owned(),
        },
        _ => later(Code::NotFound, None),
    }
}

const fn conversation(frame: &ClientFrame) -> ConversationId {
    match frame {
        ClientFrame::MessageCreate {
            conversation_id, ..
        }
        | ClientFrame::MessageRead {
            conversation_id, ..
        }
        | ClientFrame::Typing {
            conversation_id, ..
        }
        | ClientFrame::Resume {
            conversation_id, ..
        } => *conversation_id,
    }
}

const fn client_id(frame: &ClientFrame) -> Option<ClientId> {
    match frame {
        ClientFrame::MessageCreate { client_id, .. } => Some(*client_id),
        _ => None,
    }
}

const fn kind_in(frame: &ClientFrame) -> &'static str {
    match frame {
        ClientFrame::MessageCreate { .. } => "message.create",
        ClientFrame::MessageRead { .. } => "message.read",
        ClientFrame::Typing { .. } => "typing",
        ClientFrame::Resume { .. } => "resume",
    }
}

/// What a broken read says about the peer.
fn fault(error: &(dyn Error + 'static)) -> End {
    use tungstenite::Error as Ws;
    use tungstenite::error::ProtocolError;

    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<Ws>() {
            Some(Ws::Capacity(_)) => return End::TooBig,
            Some(Ws::Utf8(_)) => return End::Protocol(INVALID_TEXT),
            Some(Ws::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return End::Gone,
            Some(Ws::Protocol(_)) => return End::Protocol(PROTOCOL_ERROR),
            Some(_) => return End::Gone,
            None => next = error.source(),
        }
    }
    End::Gone
}

#[cfg(test)]
mod tests;
