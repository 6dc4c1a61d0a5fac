//! The server that a client would have: it knows the truth.

use std::collections::{BTreeMap, BTreeSet};

use chat_events::{
    ClientId, ConversationId, LogEvent, MessageId, MessageView, Position, ServerFrame,
};
use jiff::Timestamp;
use proptest::sample::Index;
use uuid::Uuid;

use super::snapshot::Snapshot;
use super::{ME, PEER};
use crate::client::state::{Outgoing, State};

/// Events in one answer to a resume: few, so that it takes more than one.
pub const PAGE: usize = 3;
/// A client that asks more often than this never comes to rest.
const PATIENCE: usize = 1_000;

/// The truth, and what this user wrote on this device.
#[derive(Clone, Default)]
pub struct Server {
    pub restores: usize,
    pub logs: BTreeMap<ConversationId, Vec<LogEvent>>,
    pub written: Vec<Outgoing>,
    /// The last word on what was written and is not in a log.
    pub answers: BTreeMap<ClientId, ServerFrame>,
    /// Makes ids that differ.
    made: u128,
}

impl Server {
    fn make(&mut self) -> Uuid {
        self.made += 1;
        Uuid::from_u128(self.made << 32)
    }

    pub fn begin(&mut self) -> ConversationId {
        let id = ConversationId(self.make());
        self.logs.insert(id, Vec::new());
        id
    }

    pub fn conversation(&self, pick: Index) -> ConversationId {
        *self
            .logs
            .keys()
            .nth(pick.index(self.logs.len()))
            .expect("a conversation")
    }

    fn add(&mut self, id: ConversationId, entry: impl FnOnce(i64) -> LogEvent) -> LogEvent {
        let log = self.logs.get_mut(&id).expect("a conversation");
        let entry = entry(log.len() as i64 + 1);
        log.push(entry.clone());
        entry
    }

    /// Somebody's message, or one that waits on this device.
    pub fn store(&mut self, id: ConversationId, pick: Index) -> LogEvent {
        let (message_id, theirs) = (MessageId(self.make()), ClientId(self.make()));
        let mine = self.waiting(id).next().filter(|_| pick.index(2) == 0);
        let (sender_id, client_id) = mine.map_or((PEER, theirs), |mine| (ME, mine));
        self.answers.remove(&client_id);
        self.add(id, |seq| LogEvent::Message {
            conversation_id: id,
            seq,
            message: MessageView {
                id: message_id,
                conversation_id: id,
                seq,
                sender_id,
                client_id,
                content: format!("text {seq}"),
                created_at: Timestamp::UNIX_EPOCH,
            },
        })
    }

    pub fn mark(&mut self, id: ConversationId, pick: Index) -> LogEvent {
        let user_id = [ME, PEER][pick.index(2)];
        self.add(id, |seq| LogEvent::Read {
            conversation_id: id,
            seq,
            user_id,
            up_to: pick.index(seq as usize) as i64,
            at: Timestamp::UNIX_EPOCH,
        })
    }

    /// Neither stored nor refused.
    fn waiting(&self, id: ConversationId) -> impl Iterator<Item = ClientId> + '_ {
        let stored: BTreeSet<ClientId> = self
            .logs
            .values()
            .flatten()
            .filter_map(|entry| match entry {
                LogEvent::Message { message, .. } => Some(message.client_id),
                LogEvent::Read { .. } => None,
            })
            .collect();
        let here = self
            .written
            .iter()
            .filter(move |one| one.conversation_id == id);
        here.map(|one| one.client_id).filter(move |client_id| {
            let refused = matches!(
                self.answers.get(client_id),
                Some(ServerFrame::Refused { .. })
            );
            !refused && !stored.contains(client_id)
        })
    }

    /// Something that this user writes on this device, which `client` is.
    pub fn write(&mut self, id: ConversationId, client: &mut State) -> ClientId {
        let outgoing = Outgoing {
            client_id: ClientId(self.make()),
            conversation_id: id,
            content: "mine".into(),
        };
        self.written.push(outgoing.clone());
        client.outbox.push_back(outgoing.clone());
        outgoing.client_id
    }

    pub fn positions(&self) -> Vec<Position> {
        let position = |(id, log): (&ConversationId, &Vec<LogEvent>)| Position {
            conversation_id: *id,
            seq: log.len() as i64,
        };
        self.logs.iter().map(position).collect()
    }

    pub fn hello(&self) -> ServerFrame {
        ServerFrame::Hello {
            connection_id: Uuid::nil(),
            user_id: ME,
            expires_at: Timestamp::UNIX_EPOCH,
            heartbeat_seconds: 25,
            epoch: self.restores.to_string(),
            positions: self.positions(),
        }
    }

    pub fn resumed(&self, conversation_id: ConversationId, after: i64) -> ServerFrame {
        let rest = self.logs[&conversation_id].iter().skip(after as usize);
        let events: Vec<LogEvent> = rest.clone().take(PAGE).cloned().collect();
        ServerFrame::Resumed {
            conversation_id,
            complete: events.len() == rest.count(),
            events,
        }
    }

    /// A client that has just begun, with the outbox of this device.
    pub fn fresh(&self) -> State {
        let mut client = State {
            outbox: self.written.clone().into(),
            ..State::default()
        };
        self.hears(&mut client, self.hello());
        self.answer(&mut client);
        client
    }

    /// One frame, and everything that the client then asks for. How often it asked.
    pub fn hears(&self, client: &mut State, frame: ServerFrame) -> usize {
        let mut asked = 0;
        if let Some(id) = client.apply(frame) {
            asked += 1;
            let after = client.top(id) as usize;
            for event in self.logs[&id].iter().skip(after) {
                client.log(event.clone());
            }
        }
        while let Some((id, after)) = hole(client) {
            asked += 1;
            assert!(asked < PATIENCE, "it asks for {id} after {after} for ever");
            client.apply(self.resumed(id, after));
        }
        asked
    }

    /// What both clients know in the same way may still be wrong.
    pub fn is_shown_by(&self, known: &Snapshot) -> bool {
        let refused = self.answers.iter().filter_map(|(id, answer)| match answer {
            ServerFrame::Refused { code, .. } => Some((*id, code.status())),
            _ => None,
        });
        let logs = known.logs.iter();
        self.logs
            .iter()
            .eq(logs.map(|(id, (events, _))| (id, events)))
            && refused.eq(known.refused.iter().map(|(id, status)| (*id, *status)))
            && known.typing == 0
            && known.violations.is_empty()
            && known.logs.values().all(|(_, hole)| hole.is_none())
            && !known
                .outbox
                .iter()
                .any(|(id, _)| known.refused.contains_key(id))
    }

    /// What waits is said again, and gets its answer.
    pub fn answer(&self, client: &mut State) {
        let waiting: Vec<ClientId> = client.outbox.iter().map(|one| one.client_id).collect();
        for client_id in waiting {
            if let Some(answer) = self.answers.get(&client_id) {
                client.apply(answer.clone());
            }
        }
    }
}

fn hole(client: &State) -> Option<(ConversationId, i64)> {
    client
        .logs
        .iter()
        .find_map(|(id, log)| Some((*id, log.hole()?)))
}
