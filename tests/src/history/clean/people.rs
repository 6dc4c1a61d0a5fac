//! Who there is, and when each of their clients is connected.

use chat_events::UserId;
use rand::RngExt;

use super::{MILLISECOND, SECOND, World, of_user};
use crate::history::record::{Entry, Function, Kind, Record};

pub struct Person {
    pub id: UserId,
    pub lives: Vec<Life>,
}

/// One client.
pub struct Life {
    pub process: u32,
    pub user: UserId,
    pub stays: Vec<Stay>,
    pub revoked: Option<u64>,
}

/// One connection. The last one of a client that stays goes on beyond the end.
#[derive(Clone, Copy)]
pub struct Stay {
    pub conn: u32,
    pub asked: u64,
    pub opened: u64,
    pub closed: u64,
}

impl Life {
    pub fn stay(&self, t: u64) -> Option<Stay> {
        let mut stays = self.stays.iter().copied();
        stays.find(|stay| (stay.opened..stay.closed).contains(&t))
    }

    /// The connection of `t`, or else the next one.
    pub fn stay_from(&self, t: u64) -> Option<Stay> {
        self.stays.iter().copied().find(|stay| t < stay.closed)
    }

    pub fn line(&self, t: u64, conn: u32, kind: Kind, f: Function) -> Record {
        let record = Record {
            conn: Some(conn),
            ..Record::new(t, self.process, kind, f)
        };
        of_user(self.user, record)
    }
}

impl<F: FnMut(Record)> World<F> {
    /// One client that stays to the end, and for some another one that signs out.
    pub fn person(&mut self, signs_out: bool) -> Person {
        let id = UserId(self.uuid());
        let mut lives = vec![self.life(id, None)];
        if signs_out || self.rng.random_bool(0.5) {
            let revoked = self.rng.random_range(self.end / 2..self.end);
            lives.push(self.life(id, Some(revoked)));
        }
        Person { id, lives }
    }

    fn life(&mut self, user: UserId, revoked: Option<u64>) -> Life {
        let last = revoked.map_or(self.settled() + 10 * SECOND, |revoked| {
            revoked + self.moment()
        });
        let mut stays = Vec::new();
        let mut asked = self.moment();
        let outages: u32 = self.rng.random_range(0..=3);
        for conn in 1.. {
            let opened = asked + self.moment();
            let lost = self.rng.random_range(opened + 1..opened + 1 + self.end);
            // Nobody is away any more when the load ends.
            let back = lost + self.rng.random_range(200 * MILLISECOND..SECOND);
            let goes_on = conn > outages || back > self.end || back + SECOND > last;
            stays.push(Stay {
                conn,
                asked,
                opened,
                closed: if goes_on { last } else { lost },
            });
            if goes_on {
                break;
            }
            asked = back;
        }
        Life {
            process: self.process(),
            user,
            stays,
            revoked,
        }
    }

    /// Connections, and the ends of sessions.
    pub fn lives(&mut self, person: &Person) {
        for life in &person.lives {
            for stay in &life.stays {
                let ends = [
                    (stay.asked, Kind::Invoke),
                    (stay.opened, Kind::Ok),
                    (stay.closed, Kind::Info),
                ];
                for (t, kind) in ends {
                    self.emit(life.line(t, stay.conn, kind, Function::Connect));
                }
            }
            if let (Some(revoked), Some(last)) = (life.revoked, life.stays.last()) {
                let asked = revoked - MILLISECOND;
                for (t, kind) in [(asked, Kind::Invoke), (revoked, Kind::Ok)] {
                    self.emit(life.line(t, last.conn, kind, Function::Revoke));
                }
            }
        }
    }

    /// Somebody without a conversation hears who comes and goes. Short absences are
    /// not told, long ones are; both are right.
    pub fn watch(&mut self, people: &[Person]) {
        let user = UserId(self.uuid());
        let life = Life {
            process: self.process(),
            user,
            stays: Vec::new(),
            revoked: None,
        };
        for (t, kind) in [(0, Kind::Invoke), (1, Kind::Ok)] {
            self.emit(life.line(t, 1, kind, Function::Connect));
        }
        for person in people {
            // Also before the socket's own client knows of it.
            let first = person.lives.iter().map(|life| life.stays[0].asked).min();
            let told = first.unwrap_or_default() + self.moment();
            self.emit(Record {
                entry: Some(Entry::Presence),
                by: Some(person.id),
                active: Some(true),
                ..life.line(told, 1, Kind::Info, Function::Recv)
            });
        }
    }
}
