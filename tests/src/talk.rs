//! Two people in the middle of a conversation, and what must be true of it in
//! the end, whatever happened meanwhile.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use chat_events::{ConversationId, MessageView};

use crate::{Chat, ChatClient};

const ANSWER: Duration = Duration::from_secs(60);

pub struct Talk {
    pub ada: ChatClient,
    pub ben: ChatClient,
    /// More tabs of both; each may send 120 frames a minute.
    tabs: Vec<ChatClient>,
    pub conversation: ConversationId,
    said: AtomicUsize,
}

impl Talk {
    pub async fn start(chat: &Chat) -> anyhow::Result<Self> {
        Self::start_with(chat, 1).await
    }

    /// Each of the two has so many tabs, which take turns.
    pub async fn start_with(chat: &Chat, tabs: usize) -> anyhow::Result<Self> {
        let (ada, ben, conversation) = chat.two_people().await?;
        let tabs = (1..tabs).flat_map(|_| [&ada, &ben].map(ChatClient::start));
        let talk = Self {
            ada: ChatClient::start(&ada),
            ben: ChatClient::start(&ben),
            tabs: tabs.collect(),
            conversation,
            said: AtomicUsize::new(0),
        };
        for client in talk.clients() {
            client.await_connected().await?;
        }
        Ok(talk)
    }

    fn clients(&self) -> impl Iterator<Item = &ChatClient> + Clone {
        [&self.ada, &self.ben].into_iter().chain(&self.tabs)
    }

    /// Both say `count` things in turn, and both see them stored.
    pub async fn say(&self, count: usize) -> anyhow::Result<()> {
        self.say_unacknowledged(count);
        for client in self.clients() {
            client.await_outbox_empty(ANSWER).await?;
        }
        Ok(())
    }

    /// Both put things into their outboxes.
    pub fn say_unacknowledged(&self, count: usize) {
        let first = self.said.fetch_add(count, Ordering::Relaxed);
        let turns = self.clients().cycle().skip(first % (2 + self.tabs.len()));
        for (number, client) in (first..first + count).zip(turns) {
            client.send(self.conversation, &format!("message {number}"));
        }
    }

    /// Waits until both see `count` messages, then holds the history, both views
    /// and a fresh client against each other.
    pub async fn finish(self, count: usize, limit: Duration) -> anyhow::Result<()> {
        for client in self.clients() {
            client.await_outbox_empty(limit).await?;
            client.await_texts(self.conversation, count, limit).await?;
        }
        let history = self.ada.person.history(self.conversation).await?;
        let fresh = ChatClient::start(&self.ben.person);
        fresh.await_texts(self.conversation, count, limit).await?;
        for client in self.clients().chain([&fresh]) {
            check(client, self.conversation, &history)?;
        }
        let texts: BTreeSet<_> = history.iter().map(|message| &message.content).collect();
        ensure!(
            history.len() == count && texts.len() == count,
            "{count} were said, {} are in history, {} different: {history:?}",
            history.len(),
            texts.len()
        );
        for client in [self.ada, self.ben, fresh].into_iter().chain(self.tabs) {
            client.stop().await?;
        }
        Ok(())
    }
}

/// I1 to I5 for one client and one conversation.
fn check(
    client: &ChatClient,
    conversation: ConversationId,
    history: &[MessageView],
) -> anyhow::Result<()> {
    let state = client.state();
    let who = &client.person.username;
    ensure!(
        state.violations().is_empty(),
        "{who} saw {:?}",
        state.violations()
    );
    let stored: HashMap<_, _> = history
        .iter()
        .map(|message| (message.client_id, message))
        .collect();
    let lost = state.accepted.iter().find(|id| !stored.contains_key(*id));
    ensure!(lost.is_none(), "{who}: accepted and lost: {lost:?}");
    ensure!(state.refused.is_empty(), "{who}: {:?}", state.refused);
    let shown: Vec<_> = state
        .logs
        .get(&conversation)
        .into_iter()
        .flat_map(|log| log.messages())
        .collect();
    ensure!(
        shown.iter().copied().eq(history),
        "{who} sees {shown:?}, history is {history:?}"
    );
    Ok(())
}
