//! One conversation: what is done, in which order it is stored, and who sees it.

use std::collections::HashMap;

use chat_events::{ClientId, ConversationId, MessageId, UserId};
use rand::RngExt;

use super::people::{Life, Person, Stay};
use super::{GAP, MILLISECOND, SECOND, World};
use crate::history::record::{Entry, Function, Hash, Kind, Record};

/// A conversation that has come to its end.
pub struct Talk<'a> {
    pub id: ConversationId,
    pub members: &'a [&'a Person],
    pub log: Vec<Stored>,
}

/// One entry of the log; its number is its place.
#[derive(Clone, Copy)]
pub struct Stored {
    pub committed: u64,
    pub by: UserId,
    pub what: What,
}

#[derive(Clone, Copy)]
pub enum What {
    Message {
        client_id: ClientId,
        message_id: MessageId,
        hash: Hash,
    },
    Read {
        up_to: i64,
    },
}

impl Stored {
    /// A line that tells of the entry.
    pub fn told(&self, conv: ConversationId, seq: i64, record: Record) -> Record {
        let record = Record {
            conv: Some(conv),
            seq: Some(seq),
            by: Some(self.by),
            ..record
        };
        match self.what {
            What::Message {
                client_id,
                message_id,
                hash,
            } => Record {
                entry: Some(Entry::Message),
                client_id: Some(client_id),
                message_id: Some(message_id),
                hash: Some(hash),
                ..record
            },
            What::Read { up_to } => Record {
                entry: Some(Entry::Read),
                up_to: Some(up_to),
                ..record
            },
        }
    }
}

/// What waits in the queue of the conversation.
struct Queued<'a> {
    at: u64,
    life: &'a Life,
    conn: u32,
    what: What,
}

impl<F: FnMut(Record)> World<F> {
    pub fn talk<'a>(&mut self, members: &'a [&'a Person], acts: usize) -> Talk<'a> {
        let id = ConversationId(self.uuid());
        for member in members {
            let record = Record {
                conv: Some(id),
                by: Some(member.id),
                ..Record::new(0, 0, Kind::Ok, Function::Join)
            };
            self.emit(record);
        }
        let queue = self.acts(id, members, acts);
        let log = self.store(id, queue);
        for life in members.iter().flat_map(|member| &member.lives) {
            self.deliver(id, life, &log);
        }
        Talk { id, members, log }
    }

    /// Everybody does one thing at a time; those of different people overlap.
    fn acts<'a>(
        &mut self,
        id: ConversationId,
        members: &'a [&'a Person],
        acts: usize,
    ) -> Vec<Queued<'a>> {
        let lives: Vec<&Life> = members.iter().flat_map(|person| &person.lives).collect();
        let mut busy: HashMap<u32, u64> = HashMap::new();
        let mut typed: HashMap<UserId, u64> = HashMap::new();
        let mut queue = Vec::new();
        let mut t = SECOND;
        for _ in 0..acts {
            t += self.rng.random_range(1..GAP);
            let life = lives[self.rng.random_range(0..lives.len())];
            let free = busy.get(&life.process).is_none_or(|until| *until < t);
            let Some(stay) = life.stay(t).filter(|_| free) else {
                continue;
            };
            match self.rng.random_range(0..100) {
                0..80 => {
                    let until = self.send(id, life, stay, t, &mut queue);
                    busy.insert(life.process, until);
                }
                80..95 => {
                    let record = life.line(t, stay.conn, Kind::Invoke, Function::Read);
                    self.emit(Record {
                        conv: Some(id),
                        ..record
                    });
                    queue.push(Queued {
                        at: t + self.moment(),
                        life,
                        conn: stay.conn,
                        what: What::Read { up_to: 0 },
                    });
                }
                _ => {
                    let last = typed.insert(life.user, t);
                    if last.is_none_or(|last| last + 7 * SECOND < t) {
                        self.typing(id, life, stay, t, &lives);
                    }
                }
            }
        }
        queue.sort_by_key(|queued| queued.at);
        queue
    }

    /// Until when the client is busy with it.
    fn send<'a>(
        &mut self,
        id: ConversationId,
        life: &'a Life,
        stay: Stay,
        t: u64,
        queue: &mut Vec<Queued<'a>>,
    ) -> u64 {
        let (client_id, hash) = (ClientId(self.uuid()), self.hash());
        let what = What::Message {
            client_id,
            message_id: MessageId(self.uuid()),
            hash,
        };
        let sent = |t, conn, kind| Record {
            conv: Some(id),
            client_id: Some(client_id),
            hash: Some(hash),
            ..life.line(t, conn, kind, Function::Send)
        };
        self.emit(sent(t, stay.conn, Kind::Invoke));
        let mut at = t + self.moment();
        let mut answer = Some((at + self.moment(), stay.conn));
        if answer.is_some_and(|(answered, _)| answered >= stay.closed) {
            // The connection went down on the way there or on the way back.
            self.emit(sent(stay.closed, stay.conn, Kind::Info));
            let again = life.stay_from(stay.closed);
            answer = again.map(|stay| (stay.opened + GAP, stay.conn));
            if self.rng.random_bool(0.5) {
                match answer {
                    Some((answered, _)) => at = answered - MILLISECOND,
                    None => return u64::MAX,
                }
            }
        }
        let Some((answered, conn)) = answer else {
            queue.push(Queued {
                at,
                life,
                conn: stay.conn,
                what,
            });
            return u64::MAX;
        };
        if self.rng.random_bool(0.02) {
            self.emit(sent(answered, conn, Kind::Fail));
        } else {
            self.emit(sent(answered, conn, Kind::Ok));
            queue.push(Queued {
                at,
                life,
                conn,
                what,
            });
        }
        answered
    }

    fn typing(&mut self, id: ConversationId, life: &Life, stay: Stay, t: u64, lives: &[&Life]) {
        let typing = |record: Record, by, active| Record {
            conv: Some(id),
            by,
            active: Some(active),
            ..record
        };
        let said = life.line(t, stay.conn, Kind::Invoke, Function::Typing);
        self.emit(typing(said, None, true));
        for other in lives.iter().filter(|other| other.user != life.user) {
            let heard = t + self.moment();
            let Some(stay) = other.stay(heard) else {
                continue;
            };
            let times = [
                (heard, Function::Recv, true),
                (heard + 1, Function::View, true),
                (heard + 5 * SECOND, Function::View, false),
            ];
            for (t, f, active) in times {
                let seen = Record {
                    entry: Some(Entry::Typing),
                    ..other.line(t, stay.conn, Kind::Info, f)
                };
                self.emit(typing(seen, Some(life.user), active));
            }
        }
    }

    /// The queue becomes the log, in its order.
    fn store(&mut self, id: ConversationId, queue: Vec<Queued>) -> Vec<Stored> {
        let mut log: Vec<Stored> = Vec::with_capacity(queue.len());
        let mut marks: HashMap<UserId, i64> = HashMap::new();
        let mut last = 0;
        // The newest message, and the newest of somebody else.
        let mut newest: Option<(UserId, i64)> = None;
        let mut newest_of_another: Option<(UserId, i64)> = None;
        for queued in queue {
            let by = queued.life.user;
            last = (last + 1).max(queued.at + self.moment());
            let seq = log.len() as i64 + 1;
            let what = match queued.what {
                message @ What::Message { .. } => {
                    if newest.is_some_and(|(author, _)| author != by) {
                        newest_of_another = newest;
                    }
                    newest = Some((by, seq));
                    message
                }
                What::Read { .. } => {
                    let unread = [newest, newest_of_another]
                        .into_iter()
                        .flatten()
                        .find(|(author, _)| *author != by);
                    let mark = marks.entry(by).or_default();
                    let Some((_, up_to)) = unread.filter(|(_, up_to)| up_to > mark) else {
                        continue;
                    };
                    *mark = up_to;
                    let told = last + MILLISECOND;
                    if queued
                        .life
                        .stay(told)
                        .is_some_and(|stay| stay.conn == queued.conn)
                    {
                        let record = queued
                            .life
                            .line(told, queued.conn, Kind::Ok, Function::Read);
                        self.emit(Record {
                            conv: Some(id),
                            up_to: Some(up_to),
                            ..record
                        });
                    }
                    What::Read { up_to }
                }
            };
            log.push(Stored {
                committed: last,
                by,
                what,
            });
        }
        log
    }

    /// To one client: by pushes while it is there, by a resume when it is back.
    fn deliver(&mut self, id: ConversationId, life: &Life, log: &[Stored]) {
        for stay in &life.stays {
            let top = log.partition_point(|stored| stored.committed < stay.opened);
            self.emit(Record {
                entry: Some(Entry::Hello),
                conv: Some(id),
                seq: Some(top as i64),
                ..life.line(stay.opened, stay.conn, Kind::Info, Function::Recv)
            });
        }
        let mut last = 0;
        for (stored, seq) in log.iter().zip(1..) {
            let pushed = (last + 1).max(stored.committed + self.moment());
            let Some(stay) = life.stay_from(pushed + 2 * MILLISECOND) else {
                return;
            };
            last = pushed.max(stay.opened + MILLISECOND);
            let heard = life.line(last, stay.conn, Kind::Info, Function::Recv);
            if self.rng.random_bool(0.03) {
                self.emit(stored.told(id, seq, heard.clone()));
            }
            self.emit(stored.told(id, seq, heard));
            let shown = life.line(last, stay.conn, Kind::Info, Function::View);
            self.emit(stored.told(id, seq, shown));
        }
    }
}
