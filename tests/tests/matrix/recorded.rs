//! People who talk while something is broken, recorded, read to the end and judged.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use chat_e2e::checker::{self, Table};
use chat_e2e::history::{History, Kind, Recorder, close};
use chat_e2e::{Chat, ChatClient, Person, Site, await_until};
use chat_events::{ConversationId, limits};
use futures::future::try_join_all;

pub const SOON: Duration = Duration::from_secs(20);
/// Back-off of clients and services, and a server that starts.
pub const RECOVERY: Duration = Duration::from_secs(60);

/// A figure for whoever reads the output; nothing is held against it.
pub fn figure(what: &str, since: Instant) {
    eprintln!("figure: {what}: {:.2} s", since.elapsed().as_secs_f64());
}

pub struct Recorded {
    pub chat: Chat,
    pub clients: Vec<ChatClient>,
    /// Each person with the next one.
    pub conversations: Vec<ConversationId>,
    recorder: Recorder,
    path: PathBuf,
    said: AtomicUsize,
}

impl Recorded {
    /// So many people, each with a conversation with the next.
    pub async fn start(chat: Chat, people: usize) -> anyhow::Result<Self> {
        let site = chat.site.clone();
        Self::through(chat, people, &site).await
    }

    /// Their sockets and requests go through another door.
    pub async fn through(chat: Chat, people: usize, door: &Site) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("matrix-{}.jsonl", chat.cluster().name));
        let recorder = Recorder::create(&path)?;
        let people: Vec<Person> =
            try_join_all((0..people).map(|_| Person::sign_up(&chat.site, "person"))).await?;
        let people: Vec<Person> = people.iter().map(|person| person.at(door)).collect();
        let mut conversations = Vec::new();
        let pairs = if people.len() == 2 { 1 } else { people.len() };
        for one in 0..pairs {
            let (ada, ben) = (&people[one], &people[(one + 1) % people.len()]);
            // messages hears of new accounts by an event.
            let conversation = await_until("the conversation", SOON, async || {
                ada.conversation_with(ben).await.map(Some)
            })
            .await?;
            recorder.conversation(conversation, &[ada.id, ben.id]);
            conversations.push(conversation);
        }
        let clients: Vec<_> = people
            .iter()
            .map(|person| ChatClient::recorded(person, &recorder))
            .collect();
        for client in &clients {
            client.await_connected().await?;
        }
        Ok(Self {
            chat,
            clients,
            conversations,
            recorder,
            path,
            said: AtomicUsize::new(0),
        })
    }

    /// Each says so many things, in turn in both conversations that they are in.
    pub fn say(&self, each: usize) {
        self.say_with(each, "");
    }

    /// The same, in as many words as a message may have.
    pub fn say_large(&self, each: usize) {
        let noise: String = (0..limits::CONTENT_CHARS - 30)
            .map(|_| rand::random_range('a'..='z'))
            .collect();
        self.say_with(each, &noise);
    }

    fn say_with(&self, each: usize, more: &str) {
        for (index, client) in self.clients.iter().enumerate() {
            let before = (index + self.conversations.len() - 1) % self.conversations.len();
            let mine = [index % self.conversations.len(), before];
            for turn in 0..each {
                let number = self.said.fetch_add(1, Ordering::Relaxed);
                let conversation = self.conversations[mine[turn % 2]];
                client.send(conversation, &format!("message {number}{more}"));
            }
        }
    }

    /// So many things were said so far.
    pub fn said(&self) -> usize {
        self.said.load(Ordering::Relaxed)
    }

    /// Waits until the broker has everything that was said.
    pub async fn accepted(&self) -> anyhow::Result<()> {
        let each = self.said() / self.clients.len();
        for client in &self.clients {
            client
                .await_state("all accepted", RECOVERY, |state| {
                    (state.accepted.len() >= each).then_some(())
                })
                .await?;
        }
        Ok(())
    }

    /// Waits until everybody has seen all they said stored.
    pub async fn settled(&self) -> anyhow::Result<()> {
        for client in &self.clients {
            client.await_outbox_empty(RECOVERY).await?;
        }
        Ok(())
    }

    /// From now on something is broken …
    pub fn breaks(&self, what: &str) {
        self.recorder.fault(what, Kind::Invoke);
    }

    /// … and from now on it is not.
    pub fn heals(&self, what: &str) {
        self.recorder.fault(what, Kind::Ok);
    }

    /// Everybody marks what they see as read, all of it is read once more, and every
    /// invariant is held against the history.
    pub async fn finish(self) -> anyhow::Result<Chat> {
        self.finish_but(&[]).await
    }

    /// The same, without invariants that the fault itself puts out of force.
    pub async fn finish_but(self, without: &[&str]) -> anyhow::Result<Chat> {
        self.settled().await?;
        for client in &self.clients {
            for conversation in &self.conversations {
                let top = client.state().top(*conversation);
                if top > 0 {
                    client.read(*conversation, top);
                }
            }
        }
        let all: Vec<_> = self.clients.iter().collect();
        close(&self.chat, &self.recorder, &all, RECOVERY).await?;
        for client in self.clients {
            client.stop().await?;
        }
        self.recorder.finish()?;
        let history = History::read(BufReader::new(File::open(&self.path)?))?;
        let verdicts = checker::check(&history);
        let table = Table {
            history: &history,
            verdicts: &verdicts,
        };
        let broken = verdicts
            .iter()
            .filter(|(invariant, _)| !without.contains(&invariant.name))
            .any(|(_, verdict)| verdict.is_err());
        ensure!(
            !broken,
            "the history is in {}:\n{table}",
            self.path.display()
        );
        let said = self.said.into_inner();
        let answered = history.sends.iter().filter(|send| send.answered.is_some());
        ensure!(
            history.sends.len() == said && answered.count() == said,
            "{said} were said:\n{table}"
        );
        std::fs::remove_file(&self.path)?;
        Ok(self.chat)
    }
}
