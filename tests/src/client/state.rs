//! What the client knows, and how a frame changes it.

#[cfg(test)]
mod equality;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use chat_events::{ClientId, Code, ConversationId, LogEvent, Position, ServerFrame, UserId};

use tokio::time::Instant;

use crate::Log;
use crate::history::Process;

/// Typing that is not said again ends then, so that it is gone within 6 s.
const TYPING: Duration = Duration::from_secs(5);

/// A message that is neither stored nor refused yet.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub client_id: ClientId,
    pub conversation_id: ConversationId,
    pub content: String,
}

#[derive(Debug, Default)]
pub struct State {
    pub logs: HashMap<ConversationId, Log>,
    /// In the order in which it was written.
    pub outbox: VecDeque<Outgoing>,
    /// The broker has them: they must never be lost.
    pub accepted: HashSet<ClientId>,
    pub refused: HashMap<ClientId, Code>,
    /// Marks that this reader wants to have.
    pub reads: HashMap<ConversationId, i64>,
    /// Who types, and until when that is shown.
    pub typing: HashMap<(ConversationId, UserId), Instant>,
    /// How often this user began to type.
    pub typed: HashMap<ConversationId, u32>,
    /// The user wants to be away.
    pub offline: bool,
    pub connected: bool,
    pub user_id: Option<UserId>,
    /// Successful connections so far.
    pub connections: u32,
    /// The times without a connection after the first one, in order.
    pub gaps: Vec<Gap>,
    /// Not final errors.
    pub errors: Vec<Code>,
    /// The session was ended; the client will not come back.
    pub signed_out: bool,
    pub epoch: Option<String>,
    /// Its hand in the history, when it has one.
    pub process: Option<Process>,
}

/// From the end of a connection to the next hello.
#[derive(Clone, Debug)]
pub struct Gap {
    /// What the server said to end it.
    pub code: Option<u16>,
    /// What broke it otherwise.
    pub error: Option<String>,
    /// Why it was not back sooner, and when.
    pub tries: Vec<(Duration, String)>,
    /// The user went away or stopped.
    pub wanted: bool,
    pub began: Instant,
    /// Nothing while it lasts.
    pub lasted: Option<Duration>,
}

impl State {
    /// Whether the frame asks for a fetch over HTTP, and of what.
    pub fn apply(&mut self, frame: ServerFrame) -> Option<ConversationId> {
        match frame {
            ServerFrame::Hello {
                epoch,
                positions,
                user_id,
                ..
            } => {
                if self.epoch.as_ref().is_some_and(|known| *known != epoch) {
                    self.logs.clear();
                }
                self.epoch = Some(epoch);
                self.user_id = Some(user_id);
                self.hear_of(&positions);
            }
            ServerFrame::Heartbeat { positions } => self.hear_of(&positions),
            ServerFrame::Log(event) => self.log(event),
            ServerFrame::Resumed {
                conversation_id,
                events,
                complete,
            } => {
                let last = events.last().map(LogEvent::seq);
                for event in events {
                    self.log(event);
                }
                // There is more, heard of or not.
                if let Some(last) = last.filter(|_| !complete) {
                    let log = self.logs.entry(conversation_id).or_default();
                    log.hear_of(last + 1);
                }
            }
            ServerFrame::Accepted { client_id } => {
                self.accepted.insert(client_id);
            }
            ServerFrame::Refused {
                client_id, code, ..
            } => {
                self.outbox.retain(|waiting| waiting.client_id != client_id);
                self.refused.insert(client_id, code);
            }
            ServerFrame::Error { code, .. } => self.errors.push(code),
            ServerFrame::Typing {
                conversation_id,
                user_id,
                active,
            } => {
                let key = (conversation_id, user_id);
                if active {
                    self.typing.insert(key, Instant::now() + TYPING);
                } else {
                    self.typing.remove(&key);
                }
            }
            ServerFrame::ConversationCreated {
                conversation_id, ..
            } => {
                self.logs.entry(conversation_id).or_default();
            }
            // What is known may be of a past that a backup has undone.
            ServerFrame::Resync { conversation_id } => {
                self.logs.entry(conversation_id).or_default().forget();
                return Some(conversation_id);
            }
            ServerFrame::GoingAway { .. } => {}
        }
        None
    }

    pub fn log(&mut self, event: LogEvent) {
        if let LogEvent::Message { message, .. } = &event {
            self.outbox
                .retain(|waiting| waiting.client_id != message.client_id);
        }
        self.logs
            .entry(event.conversation_id())
            .or_default()
            .apply(event);
    }

    /// Whether that changed anything.
    pub fn end_typing(&mut self, now: Instant) -> bool {
        let before = self.typing.len();
        self.typing.retain(|_, until| now < *until);
        self.typing.len() < before
    }

    /// Whether every mark that this reader wants stands where it can: on a message,
    /// and past those of others only.
    pub fn has_read(&self) -> bool {
        self.reads.iter().all(|(conversation, up_to)| {
            let (Some(user), Some(log)) = (self.user_id, self.logs.get(conversation)) else {
                return false;
            };
            let of_others = log
                .messages()
                .filter(|message| message.sender_id != user && message.seq <= *up_to);
            let newest = of_others.map(|message| message.seq).max();
            newest.is_none_or(|newest| newest <= log.read_up_to(user))
        })
    }

    fn hear_of(&mut self, positions: &[Position]) {
        for position in positions {
            self.logs
                .entry(position.conversation_id)
                .or_default()
                .hear_of(position.seq);
        }
    }

    pub fn texts(&self, conversation: ConversationId) -> Vec<String> {
        self.logs
            .get(&conversation)
            .map(Log::texts)
            .unwrap_or_default()
    }

    pub fn top(&self, conversation: ConversationId) -> i64 {
        self.logs.get(&conversation).map_or(0, Log::top)
    }

    /// Every broken promise, of every conversation.
    pub fn violations(&self) -> Vec<String> {
        self.logs
            .values()
            .flat_map(|log| log.violations.iter().cloned())
            .collect()
    }

    /// For the message of a failed test.
    pub fn summary(&self) -> String {
        let logs: Vec<_> = self
            .logs
            .values()
            .map(|log| (log.top(), log.hole()))
            .collect();
        format!(
            "connected {}, connections {}, gaps {:?}, errors {:?}, waiting {}, refused {:?}, logs {logs:?}",
            self.connected,
            self.connections,
            self.gaps,
            self.errors,
            self.outbox.len(),
            self.refused,
        )
    }
}
