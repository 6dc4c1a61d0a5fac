//! What may go wrong, done to a clean history: for each invariant at least one way
//! to break it. A checker that does not find every one of them is not finished.

mod beside;
mod logs;
mod stores;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::history::{Entry, Function, Kind, Record, Via};

pub struct Planted {
    /// The invariant that must find it; others may as well.
    pub invariant: &'static str,
    pub what: &'static str,
    /// Nothing if the history has no place for it.
    pub plant: fn(&mut Plot) -> Option<()>,
}

macro_rules! planted {
    ($($invariant:literal $what:literal $plant:path;)*) => {
        pub const PLANTED: &[Planted] = &[
            $(Planted { invariant: $invariant, what: $what, plant: $plant },)*
        ];
    };
}

planted! {
    "I1" "an acknowledged message is lost without a trace" logs::lost;
    "I1" "an accepted message is refused later, and lost" logs::accepted_and_refused;
    "I1" "a conversation is lost with all that was acknowledged" logs::conversation_lost;
    "I1" "a member's page lacks an acknowledged message" logs::not_on_a_page;
    "I1" "a member never hears of a conversation" logs::never_heard_of;
    "I1" "an acknowledged message is stored with another text" logs::another_text_stored;
    "I2" "a message appears that nobody sent" logs::never_sent;
    "I2" "a refused message appears" logs::refused_and_seen;
    "I2" "a message has another sender" logs::another_sender;
    "I2" "a message arrives with another text" logs::another_text;
    "I2" "a message arrives in another conversation" logs::another_conversation;
    "I3" "a message is stored twice" logs::stored_twice;
    "I3" "a message is shown twice" logs::shown_twice;
    "I4" "one client sees two entries the other way round" logs::another_order;
    "I4" "a send is answered with a number that it does not have" logs::another_number;
    "I5" "the counter is ahead of the log" logs::counter_ahead;
    "I5" "a row is missing in the log" logs::missing_row;
    "I5" "a client shows what comes after a hole" logs::shown_after_a_hole;
    "I6" "what was answered first is numbered last" logs::answered_and_overtaken;
    "I7" "a greeting is behind what the client has seen" logs::greeted_with_the_past;
    "I7" "a view goes back" logs::shown_the_past;
    "I8" "a stranger hears a message" beside::overheard;
    "I8" "a removed member goes on reading" beside::removed_and_still_there;
    "I10" "a mark falls" logs::mark_falls;
    "I10" "a mark is ahead of the log" logs::mark_ahead;
    "I10" "an answered mark is lost" beside::mark_lost;
    "I10" "a conversation is lost with its answered marks" logs::conversation_lost;
    "I10" "the table has another mark than the log" beside::mark_differs;
    "I11" "a badge counts one too many" beside::unread_differs;
    "I11" "the title counts one too many" beside::total_differs;
    "I12" "somebody with an open socket is offline" beside::wrongly_offline;
    "I12" "somebody comes and goes who does not" beside::flaps;
    "I13" "typing is shown for ever" beside::types_for_ever;
    "I13" "typing of nobody" beside::types_from_nowhere;
    "I13" "typing is stored" beside::typing_stored;
    "I14" "a cached page is not what the log gives" stores::stale_page;
    "I14" "a cached page of the directory shows an old status" stores::stale_status;
    "I14" "a cached page lacks the newest message" stores::lagging_page;
    "I15" "an event stays in an outbox" beside::waits_in_an_outbox;
    "I16" "a notice is missing" beside::notice_missing;
    "I16" "a notice comes twice" beside::notice_twice;
    "I16" "a sender is told of the own message" beside::notice_to_the_sender;
    "I17" "one service does not know an account" beside::half_an_account;
    "I17" "a member has no account" beside::no_account;
    "I18" "a good event is a dead letter" beside::dead_without_reason;
    "I18" "a dead letter is lost" beside::dead_letter_lost;
    "I19" "a socket outlives its session" beside::socket_outlives;
    "I19" "a session that ended is still told" beside::told_after_the_end;
    "I19" "a session that ended still sends" beside::sends_after_the_end;
    "I19" "a session has two refresh tokens that are good" stores::two_leaves;
    "I20" "handles are not given back" stores::kept_for_ever;
    "I21" "a client has not noticed the last event" beside::last_event_unnoticed;
    "I21" "a member never hears of a conversation" logs::never_heard_of;
    "I21" "a client shows a conversation that is lost" logs::conversation_lost;
}

/// A history that is being spoilt.
pub struct Plot {
    pub records: Vec<Record>,
    pub rng: StdRng,
}

impl Plot {
    /// Any line of that kind.
    fn pick(&mut self, wanted: impl Fn(&Record) -> bool) -> Option<usize> {
        let found: Vec<usize> = self.all(wanted).collect();
        if found.is_empty() {
            return None;
        }
        Some(found[self.rng.random_range(0..found.len())])
    }

    fn picked(&mut self, wanted: impl Fn(&Record) -> bool) -> Option<Record> {
        let index = self.pick(wanted)?;
        Some(self.records[index].clone())
    }

    fn all(&self, wanted: impl Fn(&Record) -> bool) -> impl Iterator<Item = usize> {
        let lines = self.records.iter().enumerate();
        lines
            .filter(move |(_, line)| wanted(line))
            .map(|(index, _)| index)
    }

    /// A row of the log in the database, of a message.
    fn stored_message(&mut self) -> Option<Record> {
        self.picked(|line| is_row(line) && line.entry == Some(Entry::Message))
    }

    /// The same, but the send was acknowledged.
    fn acknowledged(&mut self) -> Option<Record> {
        let answers: std::collections::HashSet<_> = self
            .records
            .iter()
            .filter(|line| line.f == Function::Send && line.kind == Kind::Ok)
            .map(|line| line.client_id)
            .collect();
        self.picked(|line| {
            is_row(line) && line.client_id.is_some() && answers.contains(&line.client_id)
        })
    }

    fn change(&mut self, which: impl Fn(&Record) -> bool, how: impl Fn(&mut Record)) {
        self.records
            .iter_mut()
            .filter(|line| which(line))
            .for_each(how);
    }

    /// A process that is in no history yet.
    fn new_process(&self) -> u32 {
        1 + self
            .records
            .iter()
            .map(|line| line.process)
            .max()
            .unwrap_or_default()
    }

    fn new_connection(&self, process: u32) -> u32 {
        let of_it = self.records.iter().filter(|line| line.process == process);
        1 + of_it.filter_map(|line| line.conn).max().unwrap_or_default()
    }

    fn new_id(&mut self) -> uuid::Uuid {
        uuid::Uuid::from_u128(self.rng.random())
    }

    /// When the final reads were made.
    fn settled(&self) -> u64 {
        let finals = self.records.iter().filter(|line| line.f == Function::Final);
        finals.map(|line| line.t_mono).max().unwrap_or_default()
    }
}

fn is_row(line: &Record) -> bool {
    line.f == Function::Final
        && line.via == Some(Via::Database)
        && matches!(line.entry, Some(Entry::Message | Entry::Read))
}

/// The same thing in two lines: a message by its id, a read by its number.
fn is_of_log(line: &Record) -> bool {
    matches!(line.entry, Some(Entry::Message | Entry::Read))
}

fn is_view(line: &Record) -> bool {
    line.f == Function::View && is_of_log(line)
}

fn is_final(line: &Record, entry: Entry) -> bool {
    line.f == Function::Final && line.entry == Some(entry)
}

/// What two lines tell of changes places; where and to whom it is told stays.
fn exchange(line: &mut Record, content: &Record) {
    *line = Record {
        entry: content.entry,
        by: content.by,
        client_id: content.client_id,
        message_id: content.message_id,
        hash: content.hash,
        up_to: content.up_to,
        ..line.clone()
    };
}
