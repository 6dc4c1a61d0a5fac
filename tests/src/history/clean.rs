//! Histories of a chat that keeps every promise, by seed: people who talk, lose
//! their connection, come back, sign out; frames that come twice; a fault; and the
//! final reads. The checker must find nothing in them, and everything that
//! [`crate::checker::PLANTED`] then breaks.

mod ending;
mod people;
mod talk;

use std::collections::HashMap;

use chat_events::UserId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use super::record::{Function, Hash, Kind, Record};
use people::Person;

const MILLISECOND: u64 = 1_000;
const SECOND: u64 = 1_000_000;
/// Between two things that happen in one conversation, at most.
const GAP: u64 = 30 * MILLISECOND;
/// From the end of the load to the final reads: longer than any promise.
const SETTLING: u64 = 60 * SECOND;

#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub people: usize,
    pub conversations: usize,
    /// Things that somebody does in each conversation.
    pub acts: usize,
}

impl Size {
    pub const SMALL: Self = Self {
        people: 6,
        conversations: 4,
        acts: 60,
    };

    /// About so many operations.
    pub const fn of(operations: usize) -> Self {
        let conversations = 1 + operations / 1_000;
        Self {
            people: 2 + conversations / 4,
            conversations,
            acts: operations / conversations,
        }
    }
}

/// Line by line: a large history need not fit into memory. The lines of one client
/// in one conversation are in order, the others are not.
pub fn generate(seed: u64, size: Size, emit: impl FnMut(Record)) {
    let mut world = World {
        rng: StdRng::seed_from_u64(seed),
        emit,
        processes: 1,
        notices: 0,
        unread: HashMap::new(),
        end: SECOND + size.acts as u64 * GAP,
    };
    let people: Vec<Person> = (0..size.people.max(2))
        .map(|number| world.person(number == 0))
        .collect();
    for person in &people {
        world.lives(person);
    }
    world.watch(&people);
    world.fault();
    for _ in 0..size.conversations {
        let members = world.members(&people);
        let conversation = world.talk(&members, size.acts);
        world.end_of(&conversation);
    }
    world.last_reads(&people);
}

pub fn records(seed: u64, size: Size) -> Vec<Record> {
    let mut records = Vec::new();
    generate(seed, size, |record| records.push(record));
    records
}

struct World<F> {
    rng: StdRng,
    emit: F,
    processes: u32,
    notices: i64,
    /// Messages of all conversations.
    unread: HashMap<UserId, i64>,
    /// Of the load.
    end: u64,
}

impl<F: FnMut(Record)> World<F> {
    /// When the final reads are made.
    const fn settled(&self) -> u64 {
        self.end + SETTLING
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(self.rng.random())
    }

    fn hash(&mut self) -> Hash {
        Hash(self.rng.random())
    }

    fn process(&mut self) -> u32 {
        self.processes += 1;
        self.processes
    }

    /// A short time on a network.
    fn moment(&mut self) -> u64 {
        self.rng.random_range(MILLISECOND / 2..10 * MILLISECOND)
    }

    fn emit(&mut self, record: Record) {
        (self.emit)(Record {
            t_wall: 1_800_000_000 * SECOND + record.t_mono,
            ..record
        });
    }

    /// Something else is broken for a while, in the middle.
    fn fault(&mut self) {
        let begun = self.rng.random_range(SECOND..self.end);
        let of = Some("messages 0".to_owned());
        for (t, kind) in [(begun, Kind::Invoke), (begun + SECOND, Kind::Ok)] {
            self.emit(Record {
                of: of.clone(),
                ..Record::new(t, 0, kind, Function::Fault)
            });
        }
    }

    /// Two to four of them.
    fn members<'a>(&mut self, people: &'a [Person]) -> Vec<&'a Person> {
        let count = self.rng.random_range(2..=people.len().min(4));
        let first = self.rng.random_range(0..people.len());
        people.iter().cycle().skip(first).take(count).collect()
    }
}

fn of_user(user: UserId, record: Record) -> Record {
    Record {
        user: Some(user),
        ..record
    }
}
