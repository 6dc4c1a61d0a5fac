//! What a client does, hears and shows, told to a recorder when there is one.

use std::collections::{HashMap, HashSet};

use chat_events::{ClientFrame, ClientId, ConversationId, LogEvent, ServerFrame, UserId};

use super::state::State;
use crate::history::{Entry, Function, Hash, Kind, Process, Record};

#[derive(Default)]
pub(super) struct Recording {
    process: Option<Process>,
    epoch: Option<String>,
    conn: u32,
    /// Sends that left.
    sends: HashMap<ClientId, Sent>,
    /// How far each log was shown.
    shown: HashMap<ConversationId, i64>,
    typing: HashSet<(ConversationId, UserId)>,
}

struct Sent {
    conversation: ConversationId,
    answered: Option<Kind>,
}

impl Recording {
    pub fn new(process: Option<Process>) -> Self {
        Self {
            process,
            ..Self::default()
        }
    }

    /// Before a connection is asked for.
    pub fn connects(&mut self) {
        self.conn += 1;
        self.note(Kind::Invoke, Function::Connect, |line| line);
    }

    /// Before a frame leaves.
    pub fn says(&mut self, frame: &ClientFrame) {
        if self.process.is_none() {
            return;
        }
        match frame {
            ClientFrame::MessageCreate {
                client_id,
                conversation_id,
                content,
            } => {
                // Again with the same id is the same operation.
                let sent = Sent {
                    conversation: *conversation_id,
                    answered: None,
                };
                if self.sends.contains_key(client_id) {
                    return;
                }
                self.sends.insert(*client_id, sent);
                self.note(Kind::Invoke, Function::Send, |line| Record {
                    conv: Some(*conversation_id),
                    client_id: Some(*client_id),
                    hash: Some(Hash::of(content)),
                    ..line
                });
            }
            ClientFrame::MessageRead {
                conversation_id,
                up_to,
            } => self.note(Kind::Invoke, Function::Read, |line| Record {
                conv: Some(*conversation_id),
                up_to: Some(*up_to),
                ..line
            }),
            ClientFrame::Typing {
                conversation_id,
                active,
            } => self.note(Kind::Invoke, Function::Typing, |line| Record {
                conv: Some(*conversation_id),
                active: Some(*active),
                ..line
            }),
            ClientFrame::Resume {
                conversation_id,
                after,
            } => self.note(Kind::Invoke, Function::Resume, |line| Record {
                conv: Some(*conversation_id),
                seq: Some(*after),
                ..line
            }),
        }
    }

    /// Before the reducer sees the frame. A new process if everything known is void.
    pub fn hears(&mut self, frame: &ServerFrame) -> Option<Process> {
        self.process.as_ref()?;
        let mut reborn = None;
        match frame {
            ServerFrame::Hello {
                epoch, positions, ..
            } => {
                let known = self.epoch.replace(epoch.clone());
                if known.is_some_and(|known| known != *epoch) {
                    reborn = self.forget();
                }
                self.note(Kind::Ok, Function::Connect, |line| line);
                for position in positions {
                    self.note(Kind::Info, Function::Recv, |line| Record {
                        entry: Some(Entry::Hello),
                        conv: Some(position.conversation_id),
                        seq: Some(position.seq),
                        ..line
                    });
                }
            }
            // The client forgets the log, and may show another one.
            ServerFrame::Resync { .. } => {
                reborn = self.forget();
                self.note(Kind::Ok, Function::Connect, |line| line);
            }
            ServerFrame::Log(event) => self.see(Function::Recv, event),
            ServerFrame::Resumed { events, .. } => {
                for event in events {
                    self.see(Function::Recv, event);
                }
            }
            ServerFrame::Accepted { client_id } => self.answer(*client_id, Kind::Ok, None),
            ServerFrame::Refused {
                client_id, code, ..
            } => self.answer(
                *client_id,
                Kind::Fail,
                Some(&|line: &mut Record| line.code = Some(*code)),
            ),
            ServerFrame::Typing {
                conversation_id,
                user_id,
                active,
            } => self.typing(Function::Recv, (*conversation_id, *user_id), *active),
            _ => {}
        }
        reborn
    }

    /// After the state has changed.
    pub fn shows(&mut self, state: &State) {
        let Some(user) = state.user_id.filter(|_| self.process.is_some()) else {
            return;
        };
        for (conversation, log) in &state.logs {
            let shown = self.shown.get(conversation).copied().unwrap_or_default();
            if log.top() == shown {
                continue;
            }
            for event in log.after(shown) {
                self.see(Function::View, event);
                self.own(user, event);
            }
            self.shown.insert(*conversation, log.top());
        }
        let now: HashSet<_> = state.typing.keys().copied().collect();
        let before = std::mem::replace(&mut self.typing, now.clone());
        for began in now.difference(&before) {
            self.typing(Function::View, *began, true);
        }
        for ended in before.difference(&now) {
            self.typing(Function::View, *ended, false);
        }
    }

    /// The connection is gone; what was not answered may have happened.
    pub fn ends(&mut self) {
        self.note(Kind::Info, Function::Connect, |line| line);
        let open = self
            .sends
            .iter()
            .filter(|(_, sent)| sent.answered.is_none());
        let open: Vec<_> = open.map(|(id, sent)| (*id, sent.conversation)).collect();
        for (client_id, conversation) in open {
            self.note(Kind::Info, Function::Send, |line| Record {
                conv: Some(conversation),
                client_id: Some(client_id),
                ..line
            });
        }
    }

    /// To be stored is the answer to a send and to a read.
    fn own(&mut self, user: UserId, event: &LogEvent) {
        match event {
            LogEvent::Message { message, seq, .. } if message.sender_id == user => {
                let stored = |line: &mut Record| {
                    line.seq = Some(*seq);
                    line.message_id = Some(message.id);
                };
                self.answer(message.client_id, Kind::Ok, Some(&stored));
            }
            LogEvent::Read {
                conversation_id,
                user_id,
                up_to,
                seq,
                ..
            } if *user_id == user => self.note(Kind::Ok, Function::Read, |line| Record {
                conv: Some(*conversation_id),
                up_to: Some(*up_to),
                seq: Some(*seq),
                ..line
            }),
            _ => {}
        }
    }

    /// The first answer counts, but `accepted` may still be refused. Another tab's
    /// messages are not this client's.
    fn answer(&mut self, client_id: ClientId, kind: Kind, add: Option<&dyn Fn(&mut Record)>) {
        let Some(sent) = self.sends.get_mut(&client_id) else {
            return;
        };
        if sent
            .answered
            .is_some_and(|before| before == Kind::Fail || kind == Kind::Ok)
        {
            return;
        }
        sent.answered = Some(kind);
        let conversation = sent.conversation;
        self.note(kind, Function::Send, |line| {
            let mut line = Record {
                conv: Some(conversation),
                client_id: Some(client_id),
                ..line
            };
            if let Some(add) = add {
                add(&mut line);
            }
            line
        });
    }

    fn see(&self, f: Function, event: &LogEvent) {
        self.note(Kind::Info, f, |line| line.of_log(event));
    }

    fn typing(&self, f: Function, (conversation, by): (ConversationId, UserId), active: bool) {
        self.note(Kind::Info, f, |line| Record {
            entry: Some(Entry::Typing),
            conv: Some(conversation),
            by: Some(by),
            active: Some(active),
            ..line
        });
    }

    /// What was shown is void: this client begins anew, on the same connection.
    fn forget(&mut self) -> Option<Process> {
        self.note(Kind::Info, Function::Connect, |line| line);
        self.process = self.process.as_ref().map(Process::reborn);
        self.shown.clear();
        self.typing.clear();
        self.note(Kind::Invoke, Function::Connect, |line| line);
        self.process.clone()
    }

    fn note(&self, kind: Kind, f: Function, fill: impl FnOnce(Record) -> Record) {
        let Some(process) = &self.process else { return };
        let line = Record {
            conn: Some(self.conn),
            ..process.line(kind, f)
        };
        process.write(&fill(line));
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use anyhow::ensure;
    use chat_events::{ConversationId, LogEvent, ServerFrame, UserId};
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::{Recording, State};
    use crate::history::{History, Place, Recorder};

    const ME: UserId = UserId(Uuid::from_u128(1));
    const HERE: ConversationId = ConversationId(Uuid::from_u128(2));

    fn read(seq: i64, up_to: i64) -> LogEvent {
        LogEvent::Read {
            conversation_id: HERE,
            seq,
            user_id: ME,
            up_to,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_is_shown_after_a_resync_is_recorded_from_its_beginning() -> anyhow::Result<()> {
        let path = std::env::temp_dir().join(format!("resync-{}.jsonl", Uuid::new_v4()));
        let recorder = Recorder::create(&path)?;
        let mut recording = Recording::new(Some(recorder.process(ME)));
        let mut state = State {
            user_id: Some(ME),
            ..State::default()
        };
        recording.connects();
        for event in [read(1, 0), read(2, 1)] {
            state.log(event);
        }
        recording.shows(&state);
        let frame = ServerFrame::Resync {
            conversation_id: HERE,
        };
        ensure!(recording.hears(&frame).is_some(), "the same process");
        state.apply(frame);
        // Another log, which is shorter.
        state.log(read(1, 0));
        recording.shows(&state);
        recorder.finish()?;
        let history = History::read(BufReader::new(std::fs::File::open(&path)?))?;
        std::fs::remove_file(&path)?;
        let sightings = history.conversations[0].sightings.iter();
        let shown: Vec<_> = sightings
            .filter(|sighting| sighting.place == Place::View)
            .map(|sighting| (history.client(sighting.client).process, sighting.seq))
            .collect();
        ensure!(shown == [(1, 1), (1, 2), (2, 1)], "{shown:?}");
        Ok(())
    }
}
