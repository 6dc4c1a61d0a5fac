//! A recorded chat of a few people, and what can be done to it.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use chat_events::topology::Queue;
use chat_events::{ClientFrame, ConversationId, Service};
use futures::future::{join_all, try_join_all};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::history::{Function, Hash, History, Kind, Record, Recorder, close};
use crate::{Backstage, Chat, ChatClient, ChatSocket, Person, await_until};

pub const SOON: Duration = Duration::from_secs(20);
/// With a bug, things need not settle at all.
const SETTLING: Duration = Duration::from_secs(30);
const PEOPLE: usize = 4;

pub struct Stage {
    pub chat: Chat,
    pub recorder: Recorder,
    pub people: Vec<Person>,
    /// One for each of them.
    pub clients: Vec<ChatClient>,
    /// Everybody has one with everybody; two of the people by number.
    pub talks: Vec<(ConversationId, [usize; 2])>,
    pub rng: StdRng,
    path: PathBuf,
}

impl Stage {
    pub async fn set(programs: &Path, bug: Option<&str>, seed: u64) -> anyhow::Result<Self> {
        let chat = Chat::with(|options| {
            options.programs = programs.to_owned();
            // What a lost push costs is known sooner.
            options.env.push(("HEARTBEAT_SECONDS".into(), "5".into()));
            options
                .env
                .extend(bug.map(|bug| ("PLANTED".into(), bug.into())));
        })
        .await?;
        let path = std::env::temp_dir().join(format!("history-{}.jsonl", chat.cluster().name));
        let recorder = Recorder::create(&path)?;
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            // One after the other, so that no bug keeps anybody out.
            people.push(Person::sign_up(&chat.site, "person").await?);
        }
        let mut stage = Self {
            chat,
            recorder,
            people,
            clients: Vec::new(),
            talks: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            path,
        };
        stage.meet().await?;
        Ok(stage)
    }

    async fn meet(&mut self) -> anyhow::Result<()> {
        for (one, ada) in self.people.iter().enumerate() {
            for (two, ben) in self.people.iter().enumerate().skip(one + 1) {
                // messages hears of new accounts by an event.
                let conversation = await_until("the conversation", SOON, async || {
                    ada.conversation_with(ben).await.map(Some)
                })
                .await?;
                self.recorder.conversation(conversation, &[ada.id, ben.id]);
                self.talks.push((conversation, [one, two]));
            }
        }
        self.clients = self
            .people
            .iter()
            .map(|person| ChatClient::recorded(person, &self.recorder))
            .collect();
        for client in &self.clients {
            client.await_connected().await?;
        }
        Ok(())
    }

    /// Any conversation, and its members.
    pub fn any_talk(&mut self) -> (ConversationId, [usize; 2]) {
        self.talks[self.rng.random_range(0..self.talks.len())]
    }

    /// Each says so many things, in turn in all conversations that they are in.
    pub fn say(&self, count: usize) {
        for (index, client) in self.clients.iter().enumerate() {
            let mine = self.talks.iter().filter(|(_, pair)| pair.contains(&index));
            for (number, (conversation, _)) in (0..count).zip(mine.cycle()) {
                client.send(*conversation, &format!("message {number}"));
            }
        }
    }

    /// Everything that was said is stored. In vain is an answer as well: the checker
    /// says what is wrong.
    pub async fn stored(&self) {
        let clients = self.clients.iter();
        join_all(clients.map(|client| client.await_outbox_empty(SETTLING))).await;
    }

    /// Everything that was said is accepted, stored or not.
    pub async fn accepted(&self) -> anyhow::Result<()> {
        for client in &self.clients {
            client
                .await_state("accepted", SOON, |state| {
                    let mut waiting = state.outbox.iter();
                    let accepted = waiting.all(|one| state.accepted.contains(&one.client_id));
                    accepted.then_some(())
                })
                .await?;
        }
        Ok(())
    }

    /// Everybody reads all that they see.
    pub async fn read(&self) {
        for client in &self.clients {
            let tops: Vec<_> = {
                let state = client.state();
                let logs = state.logs.iter();
                logs.map(|(id, log)| (*id, log.top()))
                    .filter(|(_, top)| *top > 0)
                    .collect()
            };
            for (conversation, top) in tops {
                client.read(conversation, top);
            }
        }
        let clients = self.clients.iter();
        let read = clients.map(|client| {
            client.await_state("read", SETTLING, |state| state.has_read().then_some(()))
        });
        join_all(read).await;
    }

    /// `kill -9`, and a new process.
    pub async fn kill(&self, service: Service) -> anyhow::Result<()> {
        let what = format!("{} 0", service.name());
        self.recorder.fault(&what, Kind::Invoke);
        self.chat.pod(service, 0).kill().await?;
        self.chat.pod(service, 0).start().await?;
        self.recorder.fault(&what, Kind::Ok);
        Ok(())
    }

    /// A lock on a table in the way of the service: a slow database.
    pub async fn hold(&self, service: Service, lock: &'static str) -> anyhow::Result<Hold> {
        let what = format!("database of {}", service.name());
        self.recorder.fault(&what, Kind::Invoke);
        let mut connection = self.chat.database(service).await?;
        sqlx::raw_sql(AssertSqlSafe(format!("begin; lock table {lock}")))
            .execute(&mut connection)
            .await?;
        let watch = self.chat.database(service).await?;
        Ok(Hold {
            connection,
            watch,
            recorder: self.recorder.clone(),
            what,
        })
    }

    /// One of this person's stored messages is sent again, by another tab.
    pub async fn say_again(
        &self,
        index: usize,
        conversation: ConversationId,
    ) -> anyhow::Result<()> {
        let person = &self.people[index];
        let message = {
            let state = self.clients[index].state();
            let log = state.logs.get(&conversation).context("no such log")?;
            let own = log
                .messages()
                .filter(|message| message.sender_id == person.id);
            own.last().cloned().context("nothing was said")?
        };
        let mut tab = ChatSocket::open(person).await?;
        tab.send(&ClientFrame::MessageCreate {
            client_id: message.client_id,
            conversation_id: conversation,
            content: message.content,
        })
        .await?;
        // Answered again, with the same number or a new one.
        tab.await_stored(message.client_id).await?;
        tab.close().await
    }

    /// A body that nobody can read goes into a queue.
    pub async fn poison(&self, queue: &Queue, body: &str) -> anyhow::Result<()> {
        let harness = self.recorder.harness();
        let line = harness.line(Kind::Ok, Function::Poison);
        harness.write(&Record {
            of: Some(queue.name.clone()),
            hash: Some(Hash::of(body)),
            ..line
        });
        let (exchange, key) = &queue.bindings[0];
        self.chat
            .publish_bodies(*exchange, key, &[body.as_bytes().to_vec()])
            .await
    }

    /// Up to so many milliseconds.
    pub async fn moment(&mut self, most: u64) {
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..most))).await;
    }

    /// Reads everything to its end.
    pub async fn close(self) -> anyhow::Result<History> {
        let all: Vec<_> = self.clients.iter().collect();
        close(&self.chat, &self.recorder, &all, SETTLING).await?;
        try_join_all(self.clients.into_iter().map(ChatClient::stop)).await?;
        self.recorder.finish()?;
        let history = History::read(BufReader::new(File::open(&self.path)?))?;
        std::fs::remove_file(&self.path)?;
        self.chat.stop().await?;
        Ok(history)
    }
}

/// Until it is released.
pub struct Hold {
    connection: PgConnection,
    watch: PgConnection,
    recorder: Recorder,
    what: String,
}

impl Hold {
    /// Somebody waits for the lock.
    pub async fn is_met(&mut self) -> anyhow::Result<()> {
        await_until("somebody who waits", SOON, async || {
            let waiting: bool = sqlx::query_scalar(
                "select exists (select from pg_locks l join pg_database d on d.oid = l.database
                 where d.datname = current_database() and not l.granted)",
            )
            .fetch_one(&mut self.watch)
            .await?;
            Ok(waiting.then_some(()))
        })
        .await
    }

    pub async fn release(self) -> anyhow::Result<()> {
        self.connection.close().await?;
        self.watch.close().await?;
        self.recorder.fault(&self.what, Kind::Ok);
        Ok(())
    }
}
