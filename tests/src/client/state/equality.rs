//! What a client knows after a frame is what a client knows that begins now: for
//! each frame that a server says, and whatever is lost, repeated or overtaken.

use std::collections::{BTreeMap, BTreeSet};

use chat_events::{
    ClientId, Code, ConversationId, LogEvent, Member, MessageId, MessageView, Position,
    ServerFrame, UserId,
};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Outgoing, State, TYPING};

const ME: UserId = UserId(Uuid::from_u128(1));
const PEER: UserId = UserId(Uuid::from_u128(2));
/// Events in one answer to a resume: few, so that it takes more than one.
const PAGE: usize = 3;
/// A client that asks more often than this never comes to rest.
const PATIENCE: usize = 1_000;

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Kind { $($kind,)* }

        const KINDS: &[Kind] = &[$(Kind::$kind,)*];
    };
}

kinds!(
    Hello,
    Accepted,
    Refused,
    Error,
    Typing,
    ConversationCreated,
    Heartbeat,
    Resumed,
    Resync,
    GoingAway,
    Stored,
    Read,
);

/// A new frame does not compile before it has a kind here, and a new kind not
/// before [`Server::says`] knows what has happened when it is said.
const fn kind_of(frame: &ServerFrame) -> Kind {
    match frame {
        ServerFrame::Hello { .. } => Kind::Hello,
        ServerFrame::Accepted { .. } => Kind::Accepted,
        ServerFrame::Refused { .. } => Kind::Refused,
        ServerFrame::Error { .. } => Kind::Error,
        ServerFrame::Typing { .. } => Kind::Typing,
        ServerFrame::ConversationCreated { .. } => Kind::ConversationCreated,
        ServerFrame::Heartbeat { .. } => Kind::Heartbeat,
        ServerFrame::Resumed { .. } => Kind::Resumed,
        ServerFrame::Resync { .. } => Kind::Resync,
        ServerFrame::GoingAway { .. } => Kind::GoingAway,
        ServerFrame::Log(LogEvent::Message { .. }) => Kind::Stored,
        ServerFrame::Log(LogEvent::Read { .. }) => Kind::Read,
    }
}

/// What a client knows, without what no server tells and without hints, which
/// have passed by the time at which it is looked at.
#[derive(Debug, PartialEq)]
struct Snapshot {
    user_id: Option<UserId>,
    epoch: Option<String>,
    /// Entries that are shown, and how far the log is said to go.
    logs: BTreeMap<ConversationId, (Vec<LogEvent>, Option<i64>)>,
    /// What waits, and whether the broker has it.
    outbox: Vec<(ClientId, bool)>,
    refused: BTreeMap<ClientId, u16>,
    typing: usize,
    violations: Vec<String>,
}

fn snapshot(mut state: State) -> Snapshot {
    state.end_typing(Instant::now() + TYPING);
    let violations = state.violations();
    let State {
        logs,
        outbox,
        accepted,
        refused,
        typing,
        epoch,
        user_id,
        // What this device wants, did and lived through.
        reads: _,
        typed: _,
        offline: _,
        connected: _,
        connections: _,
        closes: _,
        errors: _,
        signed_out: _,
        process: _,
    } = state;
    let log = |(id, log): (ConversationId, crate::Log)| {
        let hole = log.hole();
        (id, (log.events().cloned().collect(), hole))
    };
    Snapshot {
        user_id,
        epoch,
        logs: logs.into_iter().map(log).collect(),
        outbox: outbox
            .iter()
            .map(|waiting| (waiting.client_id, accepted.contains(&waiting.client_id)))
            .collect(),
        refused: refused
            .into_iter()
            .map(|(id, code)| (id, code.status()))
            .collect(),
        typing: typing.len(),
        violations,
    }
}

/// The truth, and what this user wrote on this device.
#[derive(Clone, Default)]
struct Server {
    restores: usize,
    logs: BTreeMap<ConversationId, Vec<LogEvent>>,
    written: Vec<Outgoing>,
    /// The last word on what was written and is not in a log.
    answers: BTreeMap<ClientId, ServerFrame>,
    /// Makes ids that differ.
    made: u128,
}

impl Server {
    /// A chat after so many random things.
    fn after(past: &[(Kind, Index)]) -> Self {
        let mut server = Self::default();
        server.begin();
        for (kind, pick) in past {
            server.says(*kind, *pick, &mut State::default());
        }
        server
    }

    fn make(&mut self) -> Uuid {
        self.made += 1;
        Uuid::from_u128(self.made << 32)
    }

    fn begin(&mut self) -> ConversationId {
        let id = ConversationId(self.make());
        self.logs.insert(id, Vec::new());
        id
    }

    fn conversation(&self, pick: Index) -> ConversationId {
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
    fn store(&mut self, id: ConversationId, pick: Index) -> LogEvent {
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

    fn mark(&mut self, id: ConversationId, pick: Index) -> LogEvent {
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
    fn write(&mut self, id: ConversationId, client: &mut State) -> ClientId {
        let outgoing = Outgoing {
            client_id: ClientId(self.make()),
            conversation_id: id,
            content: "mine".into(),
        };
        self.written.push(outgoing.clone());
        client.outbox.push_back(outgoing.clone());
        outgoing.client_id
    }

    /// Lets something happen, and tells the frame that says it to `client`, which
    /// knew everything before.
    fn says(&mut self, kind: Kind, pick: Index, client: &mut State) -> ServerFrame {
        let id = self.conversation(pick);
        match kind {
            Kind::Stored => ServerFrame::Log(self.store(id, pick)),
            Kind::Read => ServerFrame::Log(self.mark(id, pick)),
            Kind::Accepted => {
                let client_id = self.write(id, client);
                let frame = ServerFrame::Accepted { client_id };
                self.answers.insert(client_id, frame.clone());
                frame
            }
            Kind::Refused => {
                let client_id = self.write(id, client);
                let frame = ServerFrame::Refused {
                    client_id,
                    conversation_id: id,
                    code: Code::ALL[pick.index(Code::ALL.len())],
                    detail: String::new(),
                };
                self.answers.insert(client_id, frame.clone());
                frame
            }
            // Not final: what waits goes on waiting.
            Kind::Error => ServerFrame::Error {
                code: Code::Unavailable,
                detail: String::new(),
                client_id: Some(self.write(id, client)),
            },
            Kind::Typing => ServerFrame::Typing {
                conversation_id: id,
                user_id: PEER,
                active: pick.index(2) == 0,
            },
            Kind::ConversationCreated => ServerFrame::ConversationCreated {
                conversation_id: self.begin(),
                members: [ME, PEER].map(member).to_vec(),
                created_at: Timestamp::UNIX_EPOCH,
            },
            // What happened meanwhile was not pushed.
            Kind::Heartbeat => {
                self.begin();
                self.go_on(pick);
                ServerFrame::Heartbeat {
                    positions: self.positions(),
                }
            }
            Kind::Hello => {
                if pick.index(3) == 0 {
                    self.restore(pick);
                }
                self.begin();
                self.go_on(pick);
                self.hello()
            }
            Kind::Resumed => {
                let after = self.logs[&id].len() as i64;
                for _ in 0..=pick.index(2 * PAGE) {
                    self.store(id, pick);
                }
                self.resumed(id, after)
            }
            Kind::Resync => {
                // A database that was restored and goes on under its old name:
                // the client knows more than there is.
                self.lose(id, pick);
                self.store(id, pick);
                ServerFrame::Resync {
                    conversation_id: id,
                }
            }
            Kind::GoingAway => ServerFrame::GoingAway { delay_ms: 1 },
        }
    }

    /// Entries of several logs.
    fn go_on(&mut self, pick: Index) {
        for number in 0..pick.index(2 * PAGE) {
            let id = *self
                .logs
                .keys()
                .nth(number % self.logs.len())
                .expect("a conversation");
            if number % 2 == 0 {
                self.store(id, pick);
            } else {
                self.mark(id, pick);
            }
        }
    }

    /// An earlier backup: some of the end of each log is gone, and what comes
    /// instead has the same numbers.
    fn restore(&mut self, pick: Index) {
        self.restores += 1;
        for id in self.logs.keys().copied().collect::<Vec<_>>() {
            self.lose(id, pick);
        }
    }

    /// What was stored left the outbox, and does not come back to it.
    fn lose(&mut self, id: ConversationId, pick: Index) {
        let Some(log) = self.logs.get_mut(&id) else {
            return;
        };
        let kept = pick.index(log.len() + 1);
        for entry in log.split_off(kept) {
            if let LogEvent::Message { message, .. } = entry {
                self.written
                    .retain(|one| one.client_id != message.client_id);
            }
        }
    }

    fn positions(&self) -> Vec<Position> {
        let position = |(id, log): (&ConversationId, &Vec<LogEvent>)| Position {
            conversation_id: *id,
            seq: log.len() as i64,
        };
        self.logs.iter().map(position).collect()
    }

    fn hello(&self) -> ServerFrame {
        ServerFrame::Hello {
            connection_id: Uuid::nil(),
            user_id: ME,
            expires_at: Timestamp::UNIX_EPOCH,
            heartbeat_seconds: 25,
            epoch: self.restores.to_string(),
            positions: self.positions(),
        }
    }

    fn resumed(&self, conversation_id: ConversationId, after: i64) -> ServerFrame {
        let rest = self.logs[&conversation_id].iter().skip(after as usize);
        let events: Vec<LogEvent> = rest.clone().take(PAGE).cloned().collect();
        ServerFrame::Resumed {
            conversation_id,
            complete: events.len() == rest.count(),
            events,
        }
    }

    /// A client that has just begun, with the outbox of this device.
    fn fresh(&self) -> State {
        let mut client = State {
            outbox: self.written.clone().into(),
            ..State::default()
        };
        self.hears(&mut client, self.hello());
        self.answer(&mut client);
        client
    }

    /// One frame, and everything that the client then asks for. How often it asked.
    fn hears(&self, client: &mut State, frame: ServerFrame) -> usize {
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
    fn is_shown_by(&self, known: &Snapshot) -> bool {
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
    fn answer(&self, client: &mut State) {
        let waiting: Vec<ClientId> = client.outbox.iter().map(|one| one.client_id).collect();
        for client_id in waiting {
            if let Some(answer) = self.answers.get(&client_id) {
                client.apply(answer.clone());
            }
        }
    }
}

fn member(user_id: UserId) -> Member {
    Member {
        user_id,
        username: String::new(),
        display_name: String::new(),
    }
}

fn hole(client: &State) -> Option<(ConversationId, i64)> {
    client
        .logs
        .iter()
        .find_map(|(id, log)| Some((*id, log.hole()?)))
}

/// Whether the frame leaves nothing to ask for.
const fn is_complete(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Hello | Kind::Heartbeat | Kind::Resumed | Kind::Resync
    )
}

fn happenings(most: usize) -> impl Strategy<Value = Vec<(Kind, Index)>> {
    prop::collection::vec((prop::sample::select(KINDS), any::<Index>()), 0..most)
}

/// What one connection may say; a greeting begins another one.
fn pushes(most: usize) -> impl Strategy<Value = Vec<(Kind, Index)>> {
    let pushed: Vec<Kind> = KINDS
        .iter()
        .copied()
        .filter(|kind| !matches!(kind, Kind::Hello | Kind::Resync | Kind::Resumed))
        .collect();
    prop::collection::vec((prop::sample::select(pushed), any::<Index>()), 1..most)
}

proptest! {
    #[test]
    fn a_snapshot_and_a_frame_are_the_fresh_snapshot(
        past in happenings(40),
        pick in any::<Index>(),
    ) {
        for kind in KINDS {
            let mut server = Server::after(&past);
            let mut client = server.fresh();
            let frame = server.says(*kind, pick, &mut client);
            prop_assert_eq!(kind_of(&frame), *kind);
            let asked = server.hears(&mut client, frame);
            prop_assert!(asked == 0 || !is_complete(*kind), "{:?} needed {} questions", kind, asked);
            let known = snapshot(client);
            prop_assert!(server.is_shown_by(&known), "{:?} after {:?}", known, kind);
            prop_assert_eq!(known, snapshot(server.fresh()), "after {:?}", kind);
        }
    }

    #[test]
    fn frames_that_are_lost_repeated_or_late_are_made_good(
        past in happenings(20),
        future in pushes(40),
        deliveries in prop::collection::vec(any::<Index>(), 0..80),
        greeted in any::<bool>(),
    ) {
        let mut server = Server::after(&past);
        let mut client = server.fresh();
        let frames: Vec<ServerFrame> = future
            .iter()
            .map(|(kind, pick)| server.says(*kind, *pick, &mut client))
            .collect();
        for delivery in deliveries {
            client.apply(frames[delivery.index(frames.len())].clone());
        }
        let last = if greeted {
            server.hello()
        } else {
            ServerFrame::Heartbeat { positions: server.positions() }
        };
        server.hears(&mut client, last);
        server.answer(&mut client);
        let known = snapshot(client);
        prop_assert!(server.is_shown_by(&known), "{:?}", known);
        prop_assert_eq!(known, snapshot(server.fresh()));
    }
}

#[test]
fn typing_is_shown_until_it_ends_or_is_not_said_again() {
    let server = Server::after(&[]);
    let typing = |active| ServerFrame::Typing {
        conversation_id: *server.logs.keys().next().expect("a conversation"),
        user_id: PEER,
        active,
    };
    let mut client = server.fresh();
    client.apply(typing(true));
    assert_eq!(client.typing.len(), 1);
    client.apply(typing(false));
    assert!(client.typing.is_empty());
    client.apply(typing(true));
    assert!(client.end_typing(Instant::now() + TYPING));
    assert!(client.typing.is_empty());
}
