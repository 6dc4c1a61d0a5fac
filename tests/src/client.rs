//! A whole chat client: outbox, reducer, reconnect and resume, without a screen.

mod recording;
mod session;
mod state;

use std::time::Duration;

use anyhow::Context;
use chat_events::{ClientId, ConversationId};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use state::{Gap, Outgoing, State};

use crate::Person;
use crate::history::{Function, Kind, Recorder};

/// Connects at once and stays connected until it is stopped. A message that was
/// given to [`ChatClient::send`] is kept until it is stored or refused.
pub struct ChatClient {
    pub person: Person,
    state: watch::Sender<State>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl ChatClient {
    pub fn start(person: &Person) -> Self {
        Self::run(person, State::default())
    }

    /// One whose doings are in the history.
    pub fn recorded(person: &Person, recorder: &Recorder) -> Self {
        let state = State {
            process: Some(recorder.process(person.id)),
            ..State::default()
        };
        Self::run(person, state)
    }

    fn run(person: &Person, state: State) -> Self {
        let state = watch::Sender::new(state);
        let stop = CancellationToken::new();
        let task = tokio::spawn(session::run(person.clone(), state.clone(), stop.clone()));
        Self {
            person: person.clone(),
            state,
            stop,
            task,
        }
    }

    /// Puts a message into the outbox.
    pub fn send(&self, conversation_id: ConversationId, content: &str) -> ClientId {
        let client_id = ClientId::generate();
        self.state.send_modify(|state| {
            state.outbox.push_back(Outgoing {
                client_id,
                conversation_id,
                content: content.to_owned(),
            });
        });
        client_id
    }

    /// Says that everything up to `up_to` was seen, as often as it takes.
    pub fn read(&self, conversation_id: ConversationId, up_to: i64) {
        self.state.send_modify(|state| {
            let mark = state.reads.entry(conversation_id).or_default();
            *mark = up_to.max(*mark);
        });
    }

    /// Says once that this user types, if it is connected.
    pub fn types(&self, conversation_id: ConversationId) {
        self.state
            .send_modify(|state| *state.typed.entry(conversation_id).or_default() += 1);
    }

    /// Ends the session; the server closes the socket.
    pub async fn sign_out(&self) -> anyhow::Result<()> {
        let process = self.state.borrow().process.clone();
        let note = |kind| {
            if let Some(process) = &process {
                process.write(&process.line(kind, Function::Revoke));
            }
        };
        note(Kind::Invoke);
        self.person.sign_out().await?;
        note(Kind::Ok);
        Ok(())
    }

    /// Closes the socket and stays away until [`ChatClient::go_online`].
    pub fn go_offline(&self) {
        self.state.send_modify(|state| state.offline = true);
    }

    pub fn go_online(&self) {
        self.state.send_modify(|state| state.offline = false);
    }

    /// Waits until `look` gives a value.
    pub async fn await_state<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut(&State) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut states = self.state.subscribe();
        let mut found = None;
        let waiting = states.wait_for(|state| {
            found = look(state);
            found.is_some()
        });
        let outcome = tokio::time::timeout(limit, waiting).await;
        let in_time = outcome.is_ok();
        drop(outcome);
        if !in_time {
            let now = self.state.borrow().summary();
            anyhow::bail!(
                "not within {limit:?}: {what}; {}: {now}",
                self.person.username
            );
        }
        found.with_context(|| format!("the client ended before {what}"))
    }

    pub async fn await_connected(&self) -> anyhow::Result<()> {
        let limit = Duration::from_secs(20);
        self.await_state("connected", limit, |state| state.connected.then_some(()))
            .await
    }

    /// Waits until the client shows so many messages.
    pub async fn await_texts(
        &self,
        conversation: ConversationId,
        count: usize,
        limit: Duration,
    ) -> anyhow::Result<Vec<String>> {
        self.await_state(&format!("{count} messages"), limit, |state| {
            let shown = state
                .logs
                .get(&conversation)
                .map_or(0, |log| log.messages().count());
            (shown >= count).then(|| state.texts(conversation))
        })
        .await
    }

    /// Waits until everything that was sent is stored or refused.
    pub async fn await_outbox_empty(&self, limit: Duration) -> anyhow::Result<()> {
        self.await_state("an empty outbox", limit, |state| {
            state.outbox.is_empty().then_some(())
        })
        .await
    }

    /// Looks at the state; keep the guard for no longer than one expression.
    pub fn state(&self) -> watch::Ref<'_, State> {
        self.state.borrow()
    }

    pub fn texts(&self, conversation: ConversationId) -> Vec<String> {
        self.state.borrow().texts(conversation)
    }

    /// Closes the socket and ends.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.task.await?)
    }
}
