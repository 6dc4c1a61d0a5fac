//! What each frame of the client does.

use std::error::Error;

use axum::extract::ws::Message;
use chat_events::{
    ClientFrame, ClientId, Code, ConversationId, Event, MessageSent, ReadRequested, Recorded,
    ServerFrame, Typing,
};
use chat_kit::planted::{self, Bug};
use chat_kit::socket::{self, End};
use chat_kit::trace;
use futures::{Sink, Stream};
use tokio::time::{Instant, timeout};

use super::rules::{self, CONFIRM, Pace};
use super::{Answer, Session, resume};
use crate::frame::{self, client_id, conversation, kind_in, later, not_found};
use crate::messages::{AskError, Conversation};

impl<Io, E> Session<Io>
where
    Io: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Unpin,
    E: Error + 'static,
{
    pub(super) fn receive(&mut self, message: Message) -> Result<(), End> {
        self.registration.mailbox().hear();
        let pace = match message {
            Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
            _ => self.count.one_more(Instant::now()),
        };
        let read = match &message {
            Message::Text(text) => rules::read(text),
            Message::Binary(_) => Err(Box::new(frame::invalid("frames are text".into()))),
            _ => return self.too_fast(pace, None),
        };
        let kind = read.as_ref().map_or("invalid", kind_in);
        socket::count_received(kind);
        if pace != Pace::Fine {
            let client_id = read.ok().as_ref().and_then(client_id);
            return self.too_fast(pace, client_id);
        }
        match read {
            Ok(frame) => self.obey(frame),
            Err(error) => self.reply(&error),
        }
        Ok(())
    }

    fn too_fast(&mut self, pace: Pace, client_id: Option<ClientId>) -> Result<(), End> {
        match pace {
            Pace::Fine => {}
            Pace::TooFast => self.reply(&later(Code::Throttled, client_id)),
            Pace::MuchTooFast => return Err(End::TooManyFrames),
        }
        Ok(())
    }

    /// Each frame is checked against the membership of now, not of the connect.
    fn obey(&mut self, frame: ClientFrame) {
        let mailbox = self.registration.mailbox();
        let conversation = conversation(&frame);
        let member = self.around.hub.is_member(conversation, mailbox.peer.user);
        match frame {
            ClientFrame::Typing { active, .. } => {
                if member == Some(true) && self.typing.passes(conversation, active, Instant::now())
                {
                    self.tell_typing(conversation, active);
                }
            }
            ClientFrame::Resume { after, .. } => {
                self.resuming += 1;
                let (around, mailbox) = (self.around.clone(), mailbox.clone());
                self.under_way.push(Box::pin(async move {
                    let events = around
                        .messages
                        .events(&mailbox.peer.token, conversation, after);
                    Answer {
                        resume: true,
                        frame: Some(frame::item(&resume::resumed(
                            conversation,
                            after,
                            events.await,
                        ))),
                    }
                }));
            }
            ClientFrame::MessageCreate { .. } | ClientFrame::MessageRead { .. } => match member {
                Some(true) => self.publish(frame),
                Some(false) => self.reply(&not_found(&frame)),
                None => {
                    let (around, mailbox) = (self.around.clone(), mailbox.clone());
                    self.asking = Some(Box::pin(async move {
                        let asked = around
                            .messages
                            .conversation(&mailbox.peer.token, conversation);
                        (frame, asked.await)
                    }));
                }
            },
        }
    }

    pub(super) fn decide(&mut self, frame: ClientFrame, known: Result<Conversation, AskError>) {
        match known {
            Ok(known) => {
                let members: Vec<_> = known.members.iter().map(|one| one.user_id).collect();
                self.around.hub.learn(known.id, &members, known.seq);
                if members.contains(&self.registration.mailbox().peer.user) {
                    self.publish(frame)
                } else {
                    self.reply(&not_found(&frame))
                }
            }
            Err(AskError::NotFound) => self.reply(&not_found(&frame)),
            Err(AskError::Unauthenticated) => {
                let error = later(Code::Unauthenticated, client_id(&frame));
                self.reply(&error)
            }
            Err(AskError::Unavailable(error)) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "cannot ask messages for members"
                );
                let error = later(Code::Unavailable, client_id(&frame));
                self.reply(&error)
            }
        }
    }

    /// Hands the event over before the next frame is taken; the confirm comes later.
    fn publish(&mut self, frame: ClientFrame) {
        let mailbox = self.registration.mailbox();
        let user_id = mailbox.peer.user;
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
            ClientFrame::Typing { .. } | ClientFrame::Resume { .. } => return,
        };
        let trace = trace::start();
        tracing::debug!(
            trace_id = trace::id(&trace),
            socket.connection = %mailbox.peer.connection,
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
                return self.reply(&later(Code::Unavailable, client_id));
            }
        };
        if planted::bug(Bug::AcceptedBeforeConfirm)
            && let Some(client_id) = client_id
        {
            return self.reply(&ServerFrame::Accepted { client_id });
        }
        self.under_way.push(Box::pin(async move {
            let frame = match (timeout(CONFIRM, confirm).await, client_id) {
                (Ok(Ok(())), None) => None,
                (Ok(Ok(())), Some(client_id)) => Some(ServerFrame::Accepted { client_id }),
                // The event may still arrive; the client repeats it with the same id.
                (Ok(Err(_)) | Err(_), _) => Some(later(Code::Unavailable, client_id)),
            };
            Answer {
                resume: false,
                frame: frame.as_ref().map(frame::item),
            }
        }));
    }

    pub(super) fn tell_typing(&self, conversation_id: ConversationId, active: bool) {
        let typing = Event::Typing(Typing {
            conversation_id,
            user_id: self.registration.mailbox().peer.user,
            active,
        });
        self.around
            .publisher
            .hint(Recorded::new(typing, trace::current()));
    }
}
