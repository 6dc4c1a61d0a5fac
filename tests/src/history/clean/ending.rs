//! The final reads: of each conversation, and of everything else.

use chat_events::{ConversationId, UserId};
use rand::RngExt;

use super::people::Person;
use super::talk::{Stored, Talk, What};
use super::{MILLISECOND, SECOND, World, of_user};
use crate::history::record::{Entry, Function, Hash, Kind, Record, Via};

impl<F: FnMut(Record)> World<F> {
    pub fn end_of(&mut self, talk: &Talk) {
        let settled = self.settled();
        let found = Record::new(settled, 0, Kind::Info, Function::Final);
        self.log(talk, &found, Via::Database);
        for member in talk.members {
            let fresh = of_user(
                member.id,
                Record::new(settled, self.process(), Kind::Info, Function::Final),
            );
            self.log(talk, &fresh, Via::Rest);
            for life in &member.lives {
                if life.revoked.is_none() {
                    let shown = of_user(
                        member.id,
                        Record::new(settled, life.process, Kind::Info, Function::Final),
                    );
                    self.emit(position(talk, shown, Via::View));
                }
            }
            self.beside(talk, member.id, &found);
        }
        for seq in [talk.log.len() / 2, talk.log.len()] {
            self.emit(cached(talk, &talk.log[..seq], &found));
        }
    }

    fn log(&mut self, talk: &Talk, line: &Record, via: Via) {
        for (stored, seq) in talk.log.iter().zip(1..) {
            let found = Record {
                via: Some(via),
                ..line.clone()
            };
            self.emit(stored.told(talk.id, seq, found));
        }
        self.emit(position(talk, line.clone(), via));
    }

    /// What the tables say of one member.
    fn beside(&mut self, talk: &Talk, member: UserId, found: &Record) {
        let mark = talk.log.iter().filter_map(|stored| match stored.what {
            What::Read { up_to } if stored.by == member => Some(up_to),
            _ => None,
        });
        let mark = mark.max().unwrap_or_default();
        let by_others = talk.log.iter().zip(1..).filter(|(stored, _)| {
            matches!(stored.what, What::Message { .. }) && stored.by != member
        });
        let by_others: Vec<(&Stored, i64)> = by_others.collect();
        let unread = by_others.iter().filter(|(_, seq)| *seq > mark).count();
        let of = |entry, conv: ConversationId| Record {
            entry: Some(entry),
            conv: Some(conv),
            by: Some(member),
            ..found.clone()
        };
        self.emit(of(Entry::Member, talk.id));
        self.emit(Record {
            up_to: Some(mark),
            ..of(Entry::Mark, talk.id)
        });
        self.emit(Record {
            count: Some(unread as i64),
            ..of(Entry::Unread, talk.id)
        });
        *self.unread.entry(member).or_default() += unread as i64;
        for (_, seq) in by_others {
            self.notices += 1;
            self.emit(Record {
                seq: Some(seq),
                ..of(Entry::Notice, talk.id)
            });
        }
    }

    pub fn last_reads(&mut self, people: &[Person]) {
        let found = Record::new(self.settled(), 0, Kind::Info, Function::Final);
        let of = |entry, of: &str| Record {
            entry: Some(entry),
            of: Some(of.to_owned()),
            ..found.clone()
        };
        let services = ["auth", "users", "messages"];
        for service in services {
            self.emit(Record {
                count: Some(0),
                ..of(Entry::Outbox, service)
            });
            for person in people {
                self.emit(Record {
                    by: Some(person.id),
                    ..of(Entry::Account, service)
                });
            }
        }
        for person in people {
            self.emit(Record {
                entry: Some(Entry::Presence),
                by: Some(person.id),
                active: Some(true),
                ..found.clone()
            });
            self.emit(Record {
                entry: Some(Entry::Unread),
                via: Some(Via::View),
                by: Some(person.id),
                count: Some(self.unread.get(&person.id).copied().unwrap_or_default()),
                ..found.clone()
            });
        }
        for person in people {
            self.emit(Record {
                entry: Some(Entry::Leaf),
                by: Some(person.id),
                count: Some(1),
                ..found.clone()
            });
        }
        for person in people {
            let hash = Some(self.hash());
            for (entry, page) in [(Entry::Profile, None), (Entry::Cached, Some("a page"))] {
                self.emit(Record {
                    entry: Some(entry),
                    by: Some(person.id),
                    hash,
                    of: page.map(str::to_owned),
                    ..found.clone()
                });
            }
        }
        let handles = self.rng.random_range(20..200);
        for (t, more) in [(SECOND, 0), (self.settled(), 2)] {
            self.emit(Record {
                t_mono: t,
                count: Some(handles + more),
                ..of(Entry::Resource, "handles of messages")
            });
        }
        let planted = self.rng.random_range(1..4);
        for _ in 0..planted {
            let hash = Some(self.hash());
            let letter = of(Entry::DeadLetter, "a queue");
            self.emit(Record {
                hash,
                entry: None,
                kind: Kind::Ok,
                f: Function::Poison,
                t_mono: MILLISECOND,
                ..letter.clone()
            });
            self.emit(Record { hash, ..letter });
        }
        for (entry, count) in [(Entry::DeadLetter, planted), (Entry::Notice, self.notices)] {
            self.emit(Record {
                entry: Some(entry),
                count: Some(count),
                ..found.clone()
            });
        }
    }
}

fn position(talk: &Talk, line: Record, via: Via) -> Record {
    Record {
        entry: Some(Entry::Position),
        via: Some(via),
        conv: Some(talk.id),
        seq: Some(talk.log.len() as i64),
        ..line
    }
}

/// Pages of ten messages stay in the cache until they run out.
fn cached(talk: &Talk, log: &[Stored], found: &Record) -> Record {
    const LIMIT: usize = 10;
    let messages: Vec<_> = log
        .iter()
        .zip(1..)
        .filter_map(|(stored, seq)| match stored.what {
            What::Message {
                message_id, hash, ..
            } => Some((seq, message_id, hash)),
            What::Read { .. } => None,
        })
        .collect();
    let first = messages.len().saturating_sub(LIMIT);
    let page = messages[first..].iter().copied();
    Record {
        entry: Some(Entry::Cached),
        conv: Some(talk.id),
        seq: Some(log.len() as i64),
        count: Some(LIMIT as i64),
        hash: Some(Hash::of_page(page, first > 0)),
        of: Some(format!("the page of {} at {}", talk.id, log.len())),
        ..found.clone()
    }
}
