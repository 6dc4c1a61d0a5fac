//! What a batch does to the logs: pure, so that every rule can be tested. The
//! caller holds the locks of all conversations concerned.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::digest;
use chat_events::{
    ClientId, Code, ConversationId, Event, LogEvent, MessageId, MessageSent, MessageView,
    ReadRequested, Recorded, SendRefused, UserId, limits, text,
};
use jiff::Timestamp;
use uuid::Uuid;

pub type Sent = (ConversationId, UserId, ClientId);

/// The conversations of a batch as they are in the database.
#[derive(Default)]
pub struct Logs {
    pub conversations: BTreeMap<ConversationId, Log>,
    /// Messages of the batch that are stored already.
    pub stored: HashMap<Sent, Stored>,
}

#[derive(Default)]
pub struct Log {
    pub last_seq: i64,
    /// In order.
    pub members: Vec<UserId>,
    /// Of the members who read something in the batch.
    pub marks: BTreeMap<UserId, Mark>,
    /// Messages that the batch may need for its reads.
    pub messages: BTreeMap<i64, UserId>,
}

/// How far a member has read.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    pub up_to: i64,
    /// The log entry that the mark became, and the event that raised it.
    pub entry: Option<(i64, Uuid, Timestamp)>,
}

#[derive(Clone)]
pub struct Stored {
    pub view: MessageView,
    pub body_hash: Vec<u8>,
}

pub struct NewRead {
    pub conversation_id: ConversationId,
    pub seq: i64,
    pub user_id: UserId,
    pub up_to: i64,
    pub event: Uuid,
    pub at: Timestamp,
}

/// What is to be written and, after the commit, to be said.
#[derive(Default)]
pub struct Outcome {
    pub messages: Vec<Stored>,
    pub reads: Vec<NewRead>,
    /// The new `last_seq` of each conversation that changed.
    pub counters: BTreeMap<ConversationId, i64>,
    /// One answer to each event that has one, in the order of arrival.
    pub answers: Vec<Recorded>,
}

/// Gives each new entry its number, in the order of arrival.
pub fn sequence<'a>(events: impl IntoIterator<Item = &'a Recorded>, logs: &mut Logs) -> Outcome {
    let mut outcome = Outcome::default();
    for recorded in events {
        match &recorded.event {
            Event::MessageSent(sent) => send(recorded, sent, logs, &mut outcome),
            Event::MessageRead(read) => mark(recorded, read, logs, &mut outcome),
            // Refused when the batch was read.
            _ => {}
        }
    }
    outcome
}

fn send(recorded: &Recorded, sent: &MessageSent, logs: &mut Logs, outcome: &mut Outcome) {
    let mut refuse = |code: Code, detail: &str| {
        let event = Event::MessageRefused(SendRefused {
            conversation_id: sent.conversation_id,
            sender_id: sent.sender_id,
            client_id: sent.client_id,
            code,
            detail: detail.to_owned(),
        });
        outcome.answers.push(answer(recorded, recorded.id, event));
    };
    let conversation = logs.conversations.get_mut(&sent.conversation_id);
    let Some(log) = conversation.filter(|log| log.members.binary_search(&sent.sender_id).is_ok())
    else {
        return refuse(Code::NotFound, Code::NotFound.title());
    };
    let body_hash = digest::digest(&digest::SHA256, sent.content.as_bytes());
    let key = (sent.conversation_id, sent.sender_id, sent.client_id);
    let stored = match logs.stored.get(&key) {
        Some(stored) if stored.body_hash != body_hash.as_ref() => {
            return refuse(Code::Conflict, Code::Conflict.title());
        }
        // Stored before: the same answer again.
        Some(stored) => stored.clone(),
        None => {
            if let Err(detail) = check(&sent.content) {
                return refuse(Code::Invalid, &detail);
            }
            log.last_seq += 1;
            let stored = Stored {
                view: MessageView {
                    id: MessageId::generate(),
                    conversation_id: sent.conversation_id,
                    seq: log.last_seq,
                    sender_id: sent.sender_id,
                    client_id: sent.client_id,
                    content: sent.content.clone(),
                    created_at: accepted_at(recorded),
                },
                body_hash: body_hash.as_ref().to_vec(),
            };
            log.messages.insert(log.last_seq, sent.sender_id);
            outcome.counters.insert(sent.conversation_id, log.last_seq);
            outcome.messages.push(stored.clone());
            logs.stored.insert(key, stored.clone());
            stored
        }
    };
    let id = stored.view.id.0;
    let entry = LogEvent::Message {
        conversation_id: sent.conversation_id,
        seq: stored.view.seq,
        message: stored.view,
    };
    let members = log.members.clone();
    let event = Event::MessageStored { members, entry };
    outcome.answers.push(answer(recorded, id, event));
}

/// A mark stands on a message, and moves only when it passes a message of
/// somebody else. So it never exceeds the log, and two clients that read each
/// other's marks come to rest.
fn mark(recorded: &Recorded, read: &ReadRequested, logs: &mut Logs, outcome: &mut Outcome) {
    let Some(log) = logs.conversations.get_mut(&read.conversation_id) else {
        return;
    };
    let Some(mark) = log.marks.get_mut(&read.user_id) else {
        return;
    };
    let passed = (mark.up_to < read.up_to).then(|| log.messages.range(mark.up_to + 1..=read.up_to));
    let up_to = passed.and_then(|passed| {
        let others = passed.clone().any(|(_, sender)| *sender != read.user_id);
        others.then(|| passed.last().map(|(seq, _)| *seq)).flatten()
    });
    if let Some(up_to) = up_to {
        log.last_seq += 1;
        let at = accepted_at(recorded);
        *mark = Mark {
            up_to,
            entry: Some((log.last_seq, recorded.id, at)),
        };
        outcome.counters.insert(read.conversation_id, log.last_seq);
        outcome.reads.push(NewRead {
            conversation_id: read.conversation_id,
            seq: log.last_seq,
            user_id: read.user_id,
            up_to,
            event: recorded.id,
            at,
        });
    }
    // The event may have raised the mark just now or in an earlier try.
    let Some((seq, event, at)) = mark.entry.filter(|(_, event, _)| *event == recorded.id) else {
        return;
    };
    let entry = LogEvent::Read {
        conversation_id: read.conversation_id,
        seq,
        user_id: read.user_id,
        up_to: mark.up_to,
        at,
    };
    let members = log.members.clone();
    let stored = Event::MessageStored { members, entry };
    outcome.answers.push(answer(recorded, event, stored));
}

/// Carries the trace of what it answers. `id` is the same for every repeat.
fn answer(to: &Recorded, id: Uuid, event: Event) -> Recorded {
    Recorded {
        id,
        at: Timestamp::now(),
        trace: to.trace.clone(),
        event,
    }
}

/// When the message was accepted, even if it had to wait for us. Never in the
/// future, and no finer than the database keeps it.
fn accepted_at(recorded: &Recorded) -> Timestamp {
    let at = recorded.at.min(Timestamp::now());
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

fn check(content: &str) -> Result<(), String> {
    let length = content.chars().count();
    if text::is_blank(content) {
        return Err("A message needs a text that can be seen.".to_owned());
    }
    if length > limits::CONTENT_CHARS {
        let most = limits::CONTENT_CHARS;
        return Err(format!("A message has at most {most} characters."));
    }
    if !text::is_message(content) {
        return Err("A message has no control characters but line breaks and tabs.".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
