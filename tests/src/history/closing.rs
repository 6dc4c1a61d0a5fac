//! The end of a run: wait until everything has settled, then read it all once more,
//! through the tables, over HTTP and on fresh sockets.

mod stores;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use anyhow::Context;
use chat_events::{ClientId, ConversationId, LogEvent, MessageId, Service, UserId, topology};
use sqlx::PgConnection;
use uuid::Uuid;

use super::record::{Entry, Function, Hash, Kind, Record, Via};
use super::recorder::{Process, Recorder};
use crate::{Backstage, ChatClient, Person, await_until};

pub use stores::{presence_of, sample};

/// Reads everything into the history. What does not settle within `limit` is read as
/// it is: the checker says what is wrong with it.
pub async fn close(
    chat: &impl Backstage,
    recorder: &Recorder,
    clients: &[&ChatClient],
    limit: Duration,
) -> anyhow::Result<()> {
    let fresh: Vec<ChatClient> = clients
        .iter()
        .map(|client| ChatClient::recorded(&client.person, recorder))
        .collect();
    let all: Vec<&ChatClient> = clients.iter().copied().chain(&fresh).collect();
    let mut messages = chat.database(Service::Messages).await?;
    let mut notifications = chat.database(Service::Notifications).await?;
    // In vain is an answer as well.
    let _ = await_until("everything to settle", limit, async || {
        let tops = tops(&mut messages).await?;
        let notices = expected_notices(&mut messages).await?;
        let at_the_end = |client: &&ChatClient| {
            let state = client.state();
            let mut mine = tops.get(&client.person.id).into_iter().flatten();
            state.connected
                && state.outbox.is_empty()
                && state.has_read()
                && mine.all(|(conversation, seq)| state.top(*conversation) == *seq)
        };
        let there = notices_made(&mut notifications).await?;
        Ok((all.iter().all(at_the_end) && there == notices).then_some(()))
    })
    .await;
    let found = Finder(recorder.harness());
    let tops = tops(&mut messages).await?;
    for client in &all {
        let mine = tops.get(&client.person.id).into_iter().flatten();
        view(client, mine.map(|(conversation, _)| *conversation))?;
    }
    found.logs(&mut messages).await?;
    found.notices(&mut notifications).await?;
    found.accounts(chat).await?;
    for service in Service::ALL {
        if service.has_database() {
            found.outbox(chat, service).await?;
        }
    }
    found.dead_letters(chat).await?;
    for client in clients {
        let person = &client.person;
        let conversations: Vec<_> = client.state().logs.keys().copied().collect();
        for conversation in conversations {
            let path = format!("/api/conversations/{conversation}");
            if person.get(&path).await?.status == 404 {
                // A stranger, whatever the client shows: it is judged as it is.
                continue;
            }
            page(recorder, person, conversation).await?;
            newest(person, conversation).await?;
            found.unread(person, conversation).await?;
        }
        found.presence(person, person.id).await?;
    }
    if let Some(client) = clients.first() {
        client.person.get("/api/users").await?.expect(200)?;
    }
    found.directory(chat).await?;
    found.pages(chat).await?;
    found.leaves(chat).await?;
    for client in fresh {
        client.stop().await?;
    }
    Ok(())
}

/// Reads the logs and the notices alone, for clients that only write and listen.
pub async fn close_tables(chat: &impl Backstage, recorder: &Recorder) -> anyhow::Result<()> {
    let found = Finder(recorder.harness());
    found
        .logs(&mut chat.database(Service::Messages).await?)
        .await?;
    found
        .notices(&mut chat.database(Service::Notifications).await?)
        .await
}

/// Where the logs of each member end.
pub async fn tops(
    messages: &mut PgConnection,
) -> anyhow::Result<HashMap<UserId, Vec<(ConversationId, i64)>>> {
    let rows: Vec<(Uuid, Uuid, i64)> = sqlx::query_as(
        "select m.user_id, c.id, c.last_seq
         from members m join conversations c on c.id = m.conversation_id",
    )
    .fetch_all(messages)
    .await?;
    let mut tops: HashMap<_, Vec<_>> = HashMap::new();
    for (user, conversation, seq) in rows {
        let mine = tops.entry(UserId(user)).or_default();
        mine.push((ConversationId(conversation), seq));
    }
    Ok(tops)
}

/// How many notices there are, one for each receiver of a message.
pub async fn notices_made(notifications: &mut PgConnection) -> anyhow::Result<i64> {
    // By audience: a room of many would be counted member by member.
    Ok(sqlx::query_scalar(
        "select coalesce(sum(told.messages * (
             select count(*) from audiences a
             where a.audience = told.audience and a.user_id <> told.sender_id
         )), 0)::bigint
         from (select audience, sender_id, count(*) as messages from message_notices
               group by audience, sender_id) told",
    )
    .fetch_one(notifications)
    .await?)
}

async fn expected_notices(messages: &mut PgConnection) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(
        "select count(*) from messages n join members m
         on m.conversation_id = n.conversation_id and m.user_id <> n.sender_id",
    )
    .fetch_one(messages)
    .await?)
}

/// How far a client shows each log that it knows, and each that it should know.
fn view(client: &ChatClient, mine: impl Iterator<Item = ConversationId>) -> anyhow::Result<()> {
    let state = client.state();
    let process = state
        .process
        .clone()
        .context("a client that is not recorded")?;
    let shown = Finder(process);
    let known: BTreeSet<_> = state.logs.keys().copied().chain(mine).collect();
    for conversation in known {
        shown.position(Via::View, conversation, state.top(conversation));
    }
    Ok(())
}

/// The whole log over HTTP, as a reader who knows nothing yet.
async fn page(
    recorder: &Recorder,
    person: &Person,
    conversation: ConversationId,
) -> anyhow::Result<()> {
    let reader = Finder(recorder.process(person.id));
    let mut after = 0;
    loop {
        let path = format!("/api/messages/events?conversation={conversation}&after={after}");
        let page = person.get(&path).await?.expect(200)?;
        let events: Vec<LogEvent> =
            serde_json::from_value(page["events"].clone()).context("not a page of events")?;
        for event in &events {
            after = event.seq();
            reader.note(None, |line| Record {
                via: Some(Via::Rest),
                ..line.of_log(event)
            });
        }
        if page["complete"] != false {
            reader.position(
                Via::Rest,
                conversation,
                page["seq"].as_i64().context("no seq")?,
            );
            return Ok(());
        }
    }
}

/// As the client asks for it, which leaves it in the cache.
async fn newest(person: &Person, conversation: ConversationId) -> anyhow::Result<()> {
    let path = format!("/api/messages?conversation={conversation}");
    person.get(&path).await?.expect(200)?;
    Ok(())
}

struct Finder(Process);

impl Finder {
    fn note(&self, entry: Option<Entry>, fill: impl FnOnce(Record) -> Record) {
        let line = Record {
            entry,
            ..self.0.line(Kind::Info, Function::Final)
        };
        self.0.write(&fill(line));
    }

    fn position(&self, via: Via, conversation: ConversationId, seq: i64) {
        self.note(Some(Entry::Position), |line| Record {
            via: Some(via),
            conv: Some(conversation),
            seq: Some(seq),
            ..line
        });
    }

    async fn logs(&self, messages: &mut PgConnection) -> anyhow::Result<()> {
        let rows: Vec<(Uuid, i64, Uuid, Uuid, Uuid, String)> = sqlx::query_as(
            "select conversation_id, seq, id, sender_id, client_id, content from messages",
        )
        .fetch_all(&mut *messages)
        .await?;
        for (conversation, seq, id, sender, client_id, content) in rows {
            self.note(Some(Entry::Message), |line| Record {
                via: Some(Via::Database),
                conv: Some(ConversationId(conversation)),
                seq: Some(seq),
                message_id: Some(MessageId(id)),
                by: Some(UserId(sender)),
                client_id: Some(ClientId(client_id)),
                hash: Some(Hash::of(&content)),
                ..line
            });
        }
        let rows: Vec<(Uuid, i64, Uuid, i64)> =
            sqlx::query_as("select conversation_id, seq, user_id, up_to from reads")
                .fetch_all(&mut *messages)
                .await?;
        for (conversation, seq, user, up_to) in rows {
            self.note(Some(Entry::Read), |line| Record {
                via: Some(Via::Database),
                conv: Some(ConversationId(conversation)),
                seq: Some(seq),
                by: Some(UserId(user)),
                up_to: Some(up_to),
                ..line
            });
        }
        let rows: Vec<(Uuid, Uuid, i64)> =
            sqlx::query_as("select conversation_id, user_id, read_up_to from members")
                .fetch_all(&mut *messages)
                .await?;
        for (conversation, user, up_to) in rows {
            for entry in [Entry::Member, Entry::Mark] {
                self.note(Some(entry), |line| Record {
                    conv: Some(ConversationId(conversation)),
                    by: Some(UserId(user)),
                    up_to: Some(up_to),
                    ..line
                });
            }
        }
        let rows: Vec<(Uuid, i64)> = sqlx::query_as("select id, last_seq from conversations")
            .fetch_all(messages)
            .await?;
        for (conversation, seq) in rows {
            self.position(Via::Database, ConversationId(conversation), seq);
        }
        Ok(())
    }

    async fn notices(&self, notifications: &mut PgConnection) -> anyhow::Result<()> {
        let rows: Vec<(Uuid, Uuid, i64)> = sqlx::query_as(
            "select user_id, conversation_id, seq
             from message_notices join audiences using (audience) where user_id <> sender_id",
        )
        .fetch_all(notifications)
        .await?;
        for (user, conversation, seq) in &rows {
            self.note(Some(Entry::Notice), |line| Record {
                conv: Some(ConversationId(*conversation)),
                by: Some(UserId(*user)),
                seq: Some(*seq),
                ..line
            });
        }
        self.count(Entry::Notice, None, rows.len() as i64);
        Ok(())
    }

    async fn accounts(&self, chat: &impl Backstage) -> anyhow::Result<()> {
        let tables = [
            (Service::Auth, "select id from accounts"),
            (Service::Users, "select id from users"),
            (
                Service::Messages,
                "select user_id from people where not deleted",
            ),
        ];
        for (service, sql) in tables {
            let mut database = chat.database(service).await?;
            let users: Vec<Uuid> = sqlx::query_scalar(sql).fetch_all(&mut database).await?;
            for user in users {
                self.note(Some(Entry::Account), |line| Record {
                    by: Some(UserId(user)),
                    of: Some(service.name().to_owned()),
                    ..line
                });
            }
        }
        Ok(())
    }

    async fn outbox(&self, chat: &impl Backstage, service: Service) -> anyhow::Result<()> {
        let mut database = chat.database(service).await?;
        let waiting = sqlx::query_scalar(
            "select count(*) from outbox
             where (event ->> 'at')::timestamptz < now() - interval '10 s'",
        )
        .fetch_one(&mut database)
        .await?;
        self.count(Entry::Outbox, Some(service), waiting);
        Ok(())
    }

    async fn dead_letters(&self, chat: &impl Backstage) -> anyhow::Result<()> {
        let mut count = 0;
        let owners: BTreeSet<Service> = topology::queues()
            .into_iter()
            .map(|queue| queue.owner)
            .collect();
        for service in owners {
            let listed = chat.command(service, &["dead-letters", "list"]).await?;
            // Queue, reason, body; the last line counts them.
            for line in listed.lines() {
                let mut columns = line.splitn(3, '\t');
                let (Some(queue), Some(_), Some(body)) =
                    (columns.next(), columns.next(), columns.next())
                else {
                    continue;
                };
                count += 1;
                self.note(Some(Entry::DeadLetter), |line| Record {
                    of: Some(queue.to_owned()),
                    hash: Some(Hash::of(body)),
                    ..line
                });
            }
        }
        self.count(Entry::DeadLetter, None, count);
        Ok(())
    }

    async fn unread(&self, person: &Person, conversation: ConversationId) -> anyhow::Result<()> {
        let shown = person.conversation(conversation).await?;
        let count = shown["unread"].as_i64().context("no unread")?;
        self.note(Some(Entry::Unread), |line| Record {
            conv: Some(conversation),
            by: Some(person.id),
            count: Some(count),
            ..line
        });
        Ok(())
    }

    async fn presence(&self, reader: &Person, user: UserId) -> anyhow::Result<()> {
        let shown = reader
            .get(&format!("/api/users/{user}"))
            .await?
            .expect(200)?;
        self.note(Some(Entry::Presence), |line| Record {
            by: Some(user),
            active: Some(shown["status"] == "online"),
            ..line
        });
        Ok(())
    }

    fn count(&self, entry: Entry, of: Option<Service>, count: i64) {
        self.note(Some(entry), |line| Record {
            of: of.map(|service| service.name().to_owned()),
            count: Some(count),
            ..line
        });
    }
}
