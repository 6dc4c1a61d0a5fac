//! The people of a run: each talks to their neighbours, some in two tabs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use chat_events::ConversationId;
use futures::{StreamExt, TryStreamExt, stream};

use tokio::time::{Instant, sleep};

use super::under_load::LoadPlan;
use crate::history::Recorder;
use crate::{ChatClient, Person, Site};

/// Each person talks to so many on either side.
const NEIGHBOURS: usize = 2;
/// With fewer, two would be neighbours twice.
pub const FEWEST: usize = 2 * NEIGHBOURS + 2;
/// One in so many has a second tab.
const TABS: usize = 10;
/// Passwords are hashed, which the services do for a few at a time.
const AT_ONCE: usize = 8;
const SOON: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(100);

pub struct Crowd {
    pub recorder: Recorder,
    pub people: Vec<Person>,
    /// The first ones are of the people, in their order; then come second tabs.
    pub clients: Vec<Arc<ChatClient>>,
    /// By person.
    talks: Mutex<Vec<Vec<ConversationId>>>,
    said: AtomicU64,
    /// Pairs that got to know each other during the run.
    met: AtomicU64,
}

impl Crowd {
    pub async fn gather(
        site: &Site,
        recorder: &Recorder,
        plan: &LoadPlan,
    ) -> anyhow::Result<Arc<Self>> {
        let count = plan.people;
        ensure!(count >= FEWEST, "at least {FEWEST} people");
        let people: Vec<Person> = stream::iter(0..count)
            .map(|_| Person::sign_up(site, "person"))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let tabs: Vec<Person> = stream::iter(people.iter().step_by(TABS))
            .map(Person::sign_in_elsewhere)
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let clients = people.iter().chain(&tabs);
        let clients = clients
            .map(|person| Arc::new(ChatClient::recorded(person, recorder)))
            .collect();
        let crowd = Arc::new(Self {
            recorder: recorder.clone(),
            talks: Mutex::new(vec![Vec::new(); count]),
            people,
            clients,
            said: AtomicU64::new(0),
            met: AtomicU64::new(0),
        });
        for client in &crowd.clients {
            client.await_connected().await?;
        }
        let pairs = (0..count).flat_map(|one| (1..=NEIGHBOURS).map(move |step| (one, step)));
        stream::iter(pairs)
            .map(|(one, step)| crowd.meet(one, (one + step) % count))
            .buffered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(crowd)
    }

    /// Two who have no conversation yet, as long as there are such.
    pub fn strangers(&self) -> Option<(usize, usize)> {
        let count = self.people.len();
        let number = self.met.fetch_add(1, Ordering::Relaxed) as usize;
        let step = NEIGHBOURS + 1 + number / count;
        // Further round, everybody is met from the other side.
        (2 * step < count).then(|| (number % count, (number % count + step) % count))
    }

    /// Gives the two a conversation, as often as it takes.
    pub async fn meet(&self, one: usize, other: usize) -> anyhow::Result<()> {
        let (ada, ben) = (&self.people[one], &self.people[other]);
        // messages hears of new accounts by an event.
        let deadline = Instant::now() + SOON;
        let conversation = loop {
            match ada.conversation_with(ben).await {
                Ok(conversation) => break conversation,
                Err(_) if Instant::now() < deadline => sleep(AGAIN).await,
                Err(error) => return Err(error.context("no new conversation")),
            }
        };
        self.recorder.conversation(conversation, &[ada.id, ben.id]);
        let mut talks = self.talks();
        for person in [one, other] {
            talks[person].push(conversation);
        }
        Ok(())
    }

    /// Whose client it is, as a place in `people`.
    pub fn person(&self, client: usize) -> usize {
        match client.checked_sub(self.people.len()) {
            None => client,
            Some(tab) => tab * TABS,
        }
    }

    /// One of the person's conversations; `pick` chooses among so many.
    pub fn talk(&self, person: usize, pick: impl FnOnce(usize) -> usize) -> ConversationId {
        let talks = self.talks();
        let mine = &talks[person];
        mine[pick(mine.len())]
    }

    pub fn count_one_more(&self) {
        self.said.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that were written, and how many of them are not stored yet.
    pub fn progress(&self) -> (u64, usize) {
        let waiting = self.clients.iter();
        let waiting = waiting.map(|client| client.state().outbox.len()).sum();
        (self.said.load(Ordering::Relaxed), waiting)
    }

    /// Everybody closes their tabs.
    pub async fn leave(self: Arc<Self>) -> anyhow::Result<()> {
        // Whoever held it for an act has ended.
        let Some(crowd) = Arc::into_inner(self) else {
            anyhow::bail!("somebody still acts");
        };
        for client in crowd.clients.into_iter().filter_map(Arc::into_inner) {
            client.stop().await?;
        }
        Ok(())
    }

    fn talks(&self) -> MutexGuard<'_, Vec<Vec<ConversationId>>> {
        self.talks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
