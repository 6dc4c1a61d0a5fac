//! From lines to [`History`], in one pass.

use std::io::BufRead;

use anyhow::{Context, bail};
use chat_events::{ClientId, ConversationId, UserId};

use super::{
    Cached, Client, Connection, Content, Conversation, Entered, History, Level, Membership,
    Outcome, Place, Presence, ReadMark, Resource, Send, Sighting, Source, Standing, TypingFrame,
};
use crate::history::names::{ClientIx, ContentIx, Names, SendIx, UserIx};
use crate::history::record::{Entry, Function, Hash, Kind, Record, Via};

impl History {
    /// Reads JSON lines as a stream. A last line without its end was being written
    /// when the recorder died.
    ///
    /// # Errors
    /// Names the line that has no meaning.
    pub fn read(mut lines: impl BufRead) -> anyhow::Result<Self> {
        let mut builder = Builder::default();
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            lines.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            serde_json::from_slice(&line)
                .map_err(anyhow::Error::from)
                .and_then(|record| builder.take(&record))
                .with_context(|| format!("line {number}"))?;
        }
        Ok(builder.finish())
    }

    /// # Errors
    /// Names the record that has no meaning.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> anyhow::Result<Self> {
        let mut builder = Builder::default();
        for record in records {
            builder
                .take(record)
                .with_context(|| format!("{record:?}"))?;
        }
        Ok(builder.finish())
    }
}

#[derive(Default)]
pub(in crate::history) struct Builder {
    history: History,
    users: Names<UserId>,
    clients: Names<u32>,
    sends: Names<ClientId>,
    contents: Names<Content>,
    conversations: Names<ConversationId>,
    /// What is broken now, and since when.
    faults: Vec<(String, u64)>,
}

impl Builder {
    pub fn take(&mut self, record: &Record) -> anyhow::Result<()> {
        self.history.records += 1;
        self.history.operations += u64::from(record.kind == Kind::Invoke);
        self.history.end = self.history.end.max(record.t_mono);
        let client = self.client(record);
        match (record.f, record.kind) {
            (Function::Connect, kind) => self.connect(record, client, kind)?,
            (Function::Send, kind) => self.send(record, client, kind)?,
            (Function::Read, Kind::Ok) => {
                let mark = self.mark(record, record.user)?;
                self.conversation(record)?.reads.push(mark);
            }
            (Function::Typing, Kind::Invoke) => {
                self.typing(record, client, record.user, Level::Said)?;
            }
            (Function::Join, Kind::Invoke | Kind::Ok) | (Function::Leave, Kind::Ok) => {
                let membership = Membership {
                    t: record.t_mono,
                    user: self.user(need(record.by, "by")?),
                    joined: record.f == Function::Join,
                };
                self.conversation(record)?.memberships.push(membership);
            }
            (Function::Revoke, Kind::Ok) => {
                self.history.clients[client.index()].revoked = Some(record.t_mono);
            }
            (Function::Recv, Kind::Info) => self.seen(record, client, Place::Wire)?,
            (Function::View, Kind::Info) => self.seen(record, client, Place::View)?,
            (Function::Fault, kind) => self.fault(record, kind)?,
            (Function::Poison, Kind::Ok) => {
                let key = (of(record)?, need(record.hash, "hash")?);
                *self.history.poison.entry(key).or_default() += 1;
            }
            (Function::Final, Kind::Info) => self.found(record, client)?,
            // Attempts of which only the answer matters.
            (Function::Read | Function::Leave | Function::Resume | Function::Revoke, _) => {}
            (Function::Join, Kind::Fail | Kind::Info) => {}
            (f, kind) => bail!("{f:?} with {kind:?} has no meaning"),
        }
        Ok(())
    }

    fn connect(&mut self, record: &Record, client: ClientIx, kind: Kind) -> anyhow::Result<()> {
        let number = need(record.conn, "conn")?;
        let connections = &mut self.history.clients[client.index()].connections;
        if kind == Kind::Invoke {
            connections.push(Connection {
                number,
                asked: record.t_mono,
                opened: None,
                closed: None,
            });
            return Ok(());
        }
        let connection = connections
            .iter_mut()
            .rfind(|known| known.number == number)
            .context("a connection that nobody asked for")?;
        match kind {
            Kind::Ok => connection.opened = Some(record.t_mono),
            _ => connection.closed = Some(record.t_mono),
        }
        Ok(())
    }

    fn send(&mut self, record: &Record, client: ClientIx, kind: Kind) -> anyhow::Result<()> {
        let send = self.send_of(record, client, need(record.user, "user")?)?;
        let conversation = self.conversation_index(record)?;
        let by = self.user(need(record.user, "user")?);
        let send = &mut self.history.sends[send.index()];
        match kind {
            // Again with the same id is the same operation.
            Kind::Invoke if send.invoked.is_none() => {
                send.invoked = Some(record.t_mono);
                send.hash = need(record.hash, "hash")?;
                (send.by, send.client, send.conversation) = (by, client, conversation);
            }
            Kind::Invoke | Kind::Info => {}
            Kind::Ok => {
                send.outcome = Outcome::Ok;
                send.answered = send.answered.or(Some(record.t_mono));
                send.answered_seq = send.answered_seq.or(record.seq);
            }
            Kind::Fail => send.outcome = Outcome::Refused,
        }
        Ok(())
    }

    fn seen(&mut self, record: &Record, client: ClientIx, place: Place) -> anyhow::Result<()> {
        match need(record.entry, "entry")? {
            Entry::Message | Entry::Read => self.sighting(record, client, place)?,
            Entry::Hello => {
                let source = Source::Hello(need(record.conn, "conn")?);
                self.standing(record, client, source)?;
            }
            Entry::Typing => {
                let level = match place {
                    Place::Wire => Level::Heard,
                    _ => Level::Shown,
                };
                self.typing(record, client, record.by, level)?;
            }
            Entry::Presence => {
                let presence = self.presence(record, client)?;
                self.history.presence.push(presence);
            }
            other => bail!("nobody hears or shows {other:?}"),
        }
        Ok(())
    }

    fn found(&mut self, record: &Record, client: ClientIx) -> anyhow::Result<()> {
        match need(record.entry, "entry")? {
            Entry::Message | Entry::Read => {
                let place = match need(record.via, "via")? {
                    Via::Database => Place::Database,
                    Via::Rest => Place::Rest,
                    Via::View => bail!("what a client shows is a `view`"),
                };
                self.sighting(record, client, place)?;
            }
            Entry::Position => {
                let source = Source::Final(need(record.via, "via")?);
                self.standing(record, client, source)?;
            }
            Entry::Typing => self.typing(record, client, record.by, Level::Stored)?,
            Entry::Presence => {
                let presence = self.presence(record, client)?;
                self.history.finals.presence.push(presence);
            }
            Entry::Member => {
                let user = self.user(need(record.by, "by")?);
                self.conversation(record)?.listed.push(user);
            }
            Entry::Mark => {
                let mark = self.mark(record, record.by)?;
                self.conversation(record)?.marks.push(mark);
            }
            Entry::Unread => {
                let user = self.user(need(record.by, "by")?);
                let told = (user, need(record.count, "count")?);
                match record.conv {
                    None => self.history.finals.unread.push(told),
                    Some(_) => self.conversation(record)?.unread.push(told),
                }
            }
            Entry::Outbox => {
                let count = need(record.count, "count")?;
                self.history.finals.outboxes.push((of(record)?, count));
            }
            Entry::Notice => match record.by {
                None => self.history.finals.notice_count = Some(need(record.count, "count")?),
                Some(user) => {
                    let user = self.user(user);
                    let seq = need(record.seq, "seq")?;
                    self.conversation(record)?.notices.push((user, seq));
                }
            },
            Entry::Account => {
                let user = self.user(need(record.by, "by")?);
                let accounts = &mut self.history.finals.accounts;
                accounts.entry(of(record)?).or_default().insert(user);
            }
            Entry::DeadLetter => match record.hash {
                None => self.history.finals.dead_letter_count = Some(need(record.count, "count")?),
                Some(hash) => {
                    let letters = &mut self.history.finals.dead_letters;
                    *letters.entry((of(record)?, hash)).or_default() += 1;
                }
            },
            Entry::Profile => {
                let user = self.user(need(record.by, "by")?);
                let hash = need(record.hash, "hash")?;
                self.history.finals.profiles.insert(user, hash);
            }
            Entry::Cached if record.conv.is_none() => {
                let user = self.user(need(record.by, "by")?);
                let shown = (user, need(record.hash, "hash")?, of(record)?);
                self.history.finals.listed.push(shown);
            }
            Entry::Cached => {
                let page = Cached {
                    key: of(record)?,
                    seq: need(record.seq, "seq")?,
                    limit: usize::try_from(need(record.count, "count")?)?,
                    hash: need(record.hash, "hash")?,
                };
                self.conversation(record)?.cached.push(page);
            }
            Entry::Leaf => {
                let user = self.user(need(record.by, "by")?);
                let leaves = &mut self.history.finals.leaves;
                leaves.push((user, need(record.count, "count")?));
            }
            Entry::Resource => self.history.finals.resources.push(Resource {
                t: record.t_mono,
                of: of(record)?,
                count: need(record.count, "count")?,
            }),
            Entry::Hello => bail!("a greeting is heard, not found"),
        }
        Ok(())
    }

    fn sighting(&mut self, record: &Record, client: ClientIx, place: Place) -> anyhow::Result<()> {
        let author = need(record.by, "by")?;
        let by = self.user(author);
        let seq = need(record.seq, "seq")?;
        let content = if record.entry == Some(Entry::Read) {
            let up_to = need(record.up_to, "up_to")?;
            Content::Read { by, up_to }
        } else {
            let send = self.send_of(record, client, author)?;
            let found = &mut self.history.sends[send.index()];
            if place == Place::Database || found.seq.is_none() {
                found.seq = Some(seq);
            }
            Content::Message {
                by,
                send,
                message_id: need(record.message_id, "message_id")?,
                hash: need(record.hash, "hash")?,
            }
        };
        let (number, new) = self.contents.number(content);
        if new {
            self.history.contents.push(content);
        }
        let sighting = Sighting {
            t: record.t_mono,
            seq,
            client,
            content: ContentIx::from(number),
            place,
        };
        self.conversation(record)?.sightings.push(sighting);
        Ok(())
    }

    fn standing(
        &mut self,
        record: &Record,
        client: ClientIx,
        source: Source,
    ) -> anyhow::Result<()> {
        let standing = Standing {
            t: record.t_mono,
            client,
            seq: need(record.seq, "seq")?,
            source,
        };
        self.conversation(record)?.standings.push(standing);
        Ok(())
    }

    fn typing(
        &mut self,
        record: &Record,
        client: ClientIx,
        by: Option<UserId>,
        level: Level,
    ) -> anyhow::Result<()> {
        let frame = TypingFrame {
            t: record.t_mono,
            client,
            by: self.user(need(by, "by")?),
            active: need(record.active, "active")?,
            level,
        };
        self.conversation(record)?.typing.push(frame);
        Ok(())
    }

    fn presence(&mut self, record: &Record, client: ClientIx) -> anyhow::Result<Presence> {
        Ok(Presence {
            t: record.t_mono,
            client,
            conn: record.conn.unwrap_or_default(),
            user: self.user(need(record.by, "by")?),
            online: need(record.active, "active")?,
        })
    }

    fn mark(&mut self, record: &Record, user: Option<UserId>) -> anyhow::Result<ReadMark> {
        Ok(ReadMark {
            t: record.t_mono,
            user: self.user(need(user, "user")?),
            up_to: need(record.up_to, "up_to")?,
        })
    }

    fn fault(&mut self, record: &Record, kind: Kind) -> anyhow::Result<()> {
        let what = of(record)?;
        if kind == Kind::Invoke {
            self.faults.push((what, record.t_mono));
            return Ok(());
        }
        let begun = self.faults.iter().position(|(known, _)| *known == what);
        let (_, since) = self
            .faults
            .swap_remove(begun.context("healed, but never broken")?);
        self.history.faults.push((since, record.t_mono));
        Ok(())
    }

    fn user(&mut self, user: UserId) -> UserIx {
        let (number, new) = self.users.number(user);
        if new {
            self.history.users.push(user);
        }
        UserIx::from(number)
    }

    fn client(&mut self, record: &Record) -> ClientIx {
        let (number, new) = self.clients.number(record.process);
        let user = record.user.map(|user| self.user(user));
        if new {
            self.history.clients.push(Client {
                process: record.process,
                user,
                connections: Vec::new(),
                revoked: None,
                last: 0,
            });
        }
        let client = &mut self.history.clients[number];
        client.user = client.user.or(user);
        client.last = client.last.max(record.t_mono);
        ClientIx::from(number)
    }

    /// Also of a message that was seen and never sent.
    fn send_of(&mut self, record: &Record, client: ClientIx, by: UserId) -> anyhow::Result<SendIx> {
        let client_id = need(record.client_id, "client_id")?;
        let (number, new) = self.sends.number(client_id);
        if new {
            let send = Send {
                client_id,
                conversation: self.conversation_index(record)?,
                by: self.user(by),
                hash: Hash(0),
                client,
                invoked: None,
                outcome: Outcome::Open,
                answered: None,
                answered_seq: None,
                seq: None,
            };
            self.history.sends.push(send);
        }
        Ok(SendIx::from(number))
    }

    fn conversation_index(&mut self, record: &Record) -> anyhow::Result<usize> {
        let id = need(record.conv, "conv")?;
        let (number, new) = self.conversations.number(id);
        if new {
            self.history.conversations.push(Conversation::new(id));
        }
        Ok(number)
    }

    fn conversation(&mut self, record: &Record) -> anyhow::Result<&mut Conversation> {
        let index = self.conversation_index(record)?;
        Ok(&mut self.history.conversations[index])
    }

    /// Clients write when they get to it, so lines are nearly in order only; those
    /// of one client are in order.
    pub fn finish(mut self) -> History {
        let mut history = self.history;
        for (_, since) in self.faults.drain(..) {
            history.faults.push((since, u64::MAX));
        }
        for (number, send) in history.sends.iter().enumerate() {
            if send.invoked.is_some() {
                let conversation = &mut history.conversations[send.conversation];
                conversation.sends.push(SendIx::from(number));
            }
        }
        for conversation in &mut history.conversations {
            let sends = &history.sends;
            conversation
                .sends
                .sort_by_key(|send| sends[send.index()].invoked);
            conversation.sightings.sort_by_key(|sighting| sighting.t);
            conversation
                .memberships
                .sort_by_key(|membership| membership.t);
            conversation.reads.sort_by_key(|read| read.t);
            conversation.typing.sort_by_key(|frame| frame.t);
            let stored = conversation
                .sightings
                .iter()
                .filter(|sighting| sighting.place == Place::Database);
            conversation.log = stored
                .map(|row| Entered {
                    seq: row.seq,
                    content: row.content,
                })
                .collect();
            conversation.log.sort_by_key(|entered| entered.seq);
        }
        history.presence.sort_by_key(|presence| presence.t);
        history.finals.resources.sort_by_key(|resource| resource.t);
        history
    }
}

fn need<T>(value: Option<T>, field: &str) -> anyhow::Result<T> {
    value.with_context(|| format!("no {field}"))
}

fn of(record: &Record) -> anyhow::Result<String> {
    need(record.of.clone(), "of")
}
