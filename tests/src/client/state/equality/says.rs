//! What has happened when a frame is said.

use chat_events::{Code, ConversationId, LogEvent, Member, ServerFrame, UserId};
use jiff::Timestamp;
use proptest::sample::Index;

use super::server::{PAGE, Server};
use super::{Kind, ME, PEER};
use crate::client::state::State;

impl Server {
    /// A chat after so many random things.
    pub fn after(past: &[(Kind, Index)]) -> Self {
        let mut server = Self::default();
        server.begin();
        for (kind, pick) in past {
            server.says(*kind, *pick, &mut State::default());
        }
        server
    }

    /// Lets something happen, and tells the frame that says it to `client`, which
    /// knew everything before.
    pub fn says(&mut self, kind: Kind, pick: Index, client: &mut State) -> ServerFrame {
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
}

fn member(user_id: UserId) -> Member {
    Member {
        user_id,
        username: String::new(),
        display_name: String::new(),
    }
}
