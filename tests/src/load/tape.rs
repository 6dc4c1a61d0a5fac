//! What a raw client said and heard, as bytes. Read only afterwards, when nothing is
//! measured any more.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use chat_events::{ClientId, ConversationId, LogEvent, ServerFrame, UserId};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::socket::frame;
use crate::checker::{self, Broken};
use crate::history::{
    Entry, Function, Hash, History, Kind, Record, Recorder, Via, close_tables, notices_made,
};
use crate::{Backstage, Chat, await_until};

/// What says nothing about the load unless there is something to hold against it.
const MEANT: [&str; 7] = ["I1", "I2", "I3", "I4", "I5", "I6", "I16"];
const SETTLE: std::time::Duration = std::time::Duration::from_secs(60);
const DIGITS: usize = 8;

/// One connection of somebody. All times are of the recorder's clock.
#[derive(Debug)]
pub struct Tape {
    pub user: UserId,
    pub since: u64,
    pub said: Vec<(u64, Said)>,
    pub heard: Vec<(u64, Bytes)>,
}

#[derive(Clone, Copy, Debug)]
pub struct Said {
    pub conversation: ConversationId,
    pub client_id: ClientId,
    pub hash: Hash,
}

/// A message that is ready to be sent but for the end of its `client_id`.
pub struct Letter {
    bytes: Vec<u8>,
    digits: usize,
    first: Uuid,
    conversation: ConversationId,
    hash: Hash,
}

impl Letter {
    /// A text of so many bytes. Its ids are unlike those of any other letter.
    pub fn new(conversation: ConversationId, length: usize) -> Self {
        // The time, and then nothing but chance: ids that are made in one moment count up
        // where the number goes.
        let mut first = rand::random::<[u8; 16]>();
        first[..6].copy_from_slice(&Uuid::now_v7().as_bytes()[..6]);
        first[12..].fill(0);
        let first = uuid::Builder::from_bytes(first)
            .with_variant(uuid::Variant::RFC4122)
            .with_version(uuid::Version::SortRand)
            .into_uuid();
        let content = "A message of everyday life, neither short nor long. "
            .chars()
            .cycle()
            .take(length)
            .collect::<String>();
        let text = json!({
            "type": "message.create",
            "conversation_id": conversation,
            "content": content,
            "client_id": first,
        })
        .to_string();
        let bytes = frame(text.as_bytes());
        let id = first.to_string();
        let digits = find(&bytes, id.as_bytes()).unwrap_or_default() + id.len() - DIGITS;
        Self {
            bytes,
            digits,
            first,
            conversation,
            hash: Hash::of(&content),
        }
    }

    /// The frame with this number.
    pub fn number(&mut self, number: u32) -> &[u8] {
        let digits = format!("{number:0DIGITS$x}");
        self.bytes[self.digits..][..DIGITS].copy_from_slice(digits.as_bytes());
        &self.bytes
    }

    pub fn said(&self, number: u32) -> Said {
        let mut id = self.first.into_bytes();
        id[12..].copy_from_slice(&number.to_be_bytes());
        Said {
            conversation: self.conversation,
            client_id: ClientId(Uuid::from_bytes(id)),
            hash: self.hash,
        }
    }
}

/// What a frame is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// With the number of its letter.
    Accepted(u32),
    /// With the number of its letter and its place in the log.
    Stored(u32, i64),
    /// Hello, heartbeats, presence.
    Other,
}

/// Looks at a frame without reading it.
///
/// # Errors
/// When the server refused something: then there is nothing to measure.
pub fn glance(frame: &[u8]) -> anyhow::Result<Glance> {
    const STORED: &[u8] = br#"{"type":"message.stored""#;
    const ACCEPTED: &[u8] = br#"{"type":"accepted""#;
    if frame.starts_with(STORED) {
        let seq = number_after(&frame[STORED.len()..], br#""seq":"#).context("no seq")?;
        return Ok(Glance::Stored(letter(frame)?, seq));
    }
    if frame.starts_with(ACCEPTED) {
        return Ok(Glance::Accepted(letter(frame)?));
    }
    for bad in [&br#"{"type":"error""#[..], br#"{"type":"refused""#] {
        if frame.starts_with(bad) {
            bail!("the server said {}", String::from_utf8_lossy(frame));
        }
    }
    Ok(Glance::Other)
}

fn letter(frame: &[u8]) -> anyhow::Result<u32> {
    const NAME: &[u8] = br#""client_id":""#;
    const ID: usize = 36;
    let id = find(frame, NAME).context("no client_id")? + NAME.len();
    let digits = frame.get(id + ID - 8..id + ID).context("a short id")?;
    Ok(u32::from_str_radix(std::str::from_utf8(digits)?, 16)?)
}

fn number_after(bytes: &[u8], name: &[u8]) -> Option<i64> {
    let from = find(bytes, name)? + name.len();
    let digits = bytes[from..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// Reads the tapes and the tables into a history, and holds every promise against it.
/// The facts by invariant.
///
/// # Errors
/// When a promise was broken, or nothing could be held against one that is meant. The
/// history stays in `file` then, and else is removed.
pub async fn judge(
    chat: &Chat,
    recorder: &Recorder,
    tapes: Vec<Tape>,
    file: &Path,
) -> anyhow::Result<Vec<(String, u64)>> {
    write(recorder, tapes)?;
    close_tables(chat, recorder).await?;
    recorder.finish()?;
    let history = file.to_owned();
    let verdicts = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let history = History::read(BufReader::with_capacity(1 << 20, File::open(history)?))?;
        Ok(checker::check(&history))
    })
    .await??;
    let mut facts = Vec::new();
    for (invariant, verdict) in verdicts {
        match verdict {
            Ok(count) => facts.push((invariant.name.to_owned(), count)),
            Err(Broken(words)) => bail!("{}: {words}; see {}", invariant.name, file.display()),
        }
    }
    for meant in MEANT {
        let count = facts.iter().find(|(name, _)| name == meant);
        ensure!(
            count.is_some_and(|(_, count)| *count > 0),
            "nothing was held against {meant}"
        );
    }
    std::fs::remove_file(file)?;
    Ok(facts)
}

/// Every tape becomes a client that shows what it hears.
fn write(recorder: &Recorder, tapes: Vec<Tape>) -> anyhow::Result<()> {
    let mut lines: Vec<Record> = Vec::new();
    let start = Timestamp::now().as_microsecond().unsigned_abs() - recorder.now();
    for tape in tapes {
        let process = recorder.process(tape.user);
        let line = |t: u64, kind, f| Record {
            t_mono: t,
            t_wall: start + t,
            conn: Some(1),
            ..process.line(kind, f)
        };
        lines.push(line(tape.since, Kind::Invoke, Function::Connect));
        lines.push(line(tape.since, Kind::Ok, Function::Connect));
        let mut conversations: HashMap<ClientId, ConversationId> = HashMap::new();
        for (t, said) in tape.said {
            conversations.insert(said.client_id, said.conversation);
            lines.push(Record {
                conv: Some(said.conversation),
                client_id: Some(said.client_id),
                hash: Some(said.hash),
                ..line(t, Kind::Invoke, Function::Send)
            });
        }
        let mut tops: HashMap<ConversationId, i64> = HashMap::new();
        let mut last = tape.since;
        for (t, frame) in tape.heard {
            last = t;
            match serde_json::from_slice(&frame)? {
                ServerFrame::Accepted { client_id } => lines.push(Record {
                    conv: conversations.get(&client_id).copied(),
                    client_id: Some(client_id),
                    ..line(t, Kind::Ok, Function::Send)
                }),
                ServerFrame::Log(event) => {
                    lines.push(line(t, Kind::Info, Function::Recv).of_log(&event));
                    lines.push(line(t, Kind::Info, Function::View).of_log(&event));
                    tops.insert(event.conversation_id(), event.seq());
                    if let LogEvent::Message { message, seq, .. } = &event
                        && message.sender_id == tape.user
                    {
                        lines.push(Record {
                            conv: Some(message.conversation_id),
                            client_id: Some(message.client_id),
                            message_id: Some(message.id),
                            seq: Some(*seq),
                            ..line(t, Kind::Ok, Function::Send)
                        });
                    }
                }
                ServerFrame::Resumed { events, .. } => {
                    for event in &events {
                        lines.push(line(t, Kind::Info, Function::Recv).of_log(event));
                        lines.push(line(t, Kind::Info, Function::View).of_log(event));
                        tops.insert(event.conversation_id(), event.seq());
                    }
                }
                _ => {}
            }
        }
        for (conversation, seq) in tops {
            lines.push(Record {
                conn: None,
                entry: Some(Entry::Position),
                via: Some(Via::View),
                conv: Some(conversation),
                seq: Some(seq),
                ..line(last, Kind::Info, Function::Final)
            });
        }
    }
    lines.sort_by_key(|line| line.t_mono);
    let harness = recorder.harness();
    for line in &lines {
        harness.write(line);
    }
    Ok(())
}

/// Waits until every stored message has its notices, so that no work of a run is left
/// for after it.
///
/// # Errors
/// When they do not come.
pub async fn await_notices(chat: &Chat, expected: i64) -> anyhow::Result<()> {
    let mut notifications = chat.database(chat_events::Service::Notifications).await?;
    await_until("the notices", SETTLE, async || {
        let made = notices_made(&mut notifications).await?;
        Ok((made >= expected).then_some(()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use chat_events::{
        ClientFrame, ClientId, ConversationId, LogEvent, MessageId, MessageView, ServerFrame,
        UserId,
    };
    use jiff::Timestamp;

    use super::{Glance, Letter, glance};
    use crate::history::Hash;

    #[test]
    fn a_letter_is_a_message_with_its_number_and_an_id_of_its_own() -> anyhow::Result<()> {
        let here = ConversationId::generate();
        let mut letter = Letter::new(here, 256);
        for number in [0, 1, 0xffff_ffff] {
            let frame = letter.number(number).to_vec();
            let ClientFrame::MessageCreate {
                client_id,
                conversation_id,
                content,
            } = serde_json::from_slice(&frame[8..])?
            else {
                panic!("another frame");
            };
            let said = letter.said(number);
            assert_eq!((client_id, conversation_id), (said.client_id, here));
            assert_eq!(client_id.0.get_version_num(), 7);
            assert_eq!(content.len(), 256);
            assert_eq!(Hash::of(&content), said.hash);
            let accepted = serde_json::to_vec(&ServerFrame::Accepted { client_id })?;
            assert_eq!(glance(&accepted)?, Glance::Accepted(number));
            let stored = serde_json::to_vec(&ServerFrame::Log(LogEvent::Message {
                conversation_id,
                seq: 1_234,
                message: MessageView {
                    id: MessageId::generate(),
                    conversation_id,
                    seq: 1_234,
                    sender_id: UserId::generate(),
                    client_id,
                    content: "\"client_id\":\"".into(),
                    created_at: Timestamp::now(),
                },
            }))?;
            assert_eq!(glance(&stored)?, Glance::Stored(number, 1_234));
        }
        assert_ne!(
            Letter::new(here, 9).said(0).client_id,
            letter.said(0).client_id
        );
        Ok(())
    }

    #[test]
    fn what_is_refused_ends_the_load() -> anyhow::Result<()> {
        let refused = br#"{"type":"refused","client_id":"x"}"#;
        assert!(glance(refused).is_err());
        let heartbeat = serde_json::to_vec(&ServerFrame::Heartbeat { positions: vec![] })?;
        assert_eq!(glance(&heartbeat)?, Glance::Other);
        let id = ClientId::generate();
        assert!(
            glance(&serde_json::to_vec(&ServerFrame::Accepted {
                client_id: id
            })?)
            .is_ok()
        );
        Ok(())
    }
}
