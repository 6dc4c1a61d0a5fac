//! This pod's own queue: what its open sockets must hear.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::iter;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_events::{Event, NotificationFrame, PublicUser, Recorded, Service, UserId, limits};
use chat_kit::broker::{Backoff, Broker, PodEvent};
use chat_kit::health::Part;
use chat_kit::socket::End;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::telling::{Heard, Telling};
use crate::people;
use crate::state::AppState;

pub struct FanOut {
    state: AppState,
    telling: Arc<Telling>,
    pending: Mutex<Pending>,
    changed: Notify,
}

/// The newest change of each kind that sockets were not told yet.
type Pending = HashMap<(UserId, About), Recorded>;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Presence,
    Name,
}

/// Notes a change, unless a newer one is there.
fn note(pending: &mut Pending, user: UserId, about: About, recorded: Recorded) {
    match pending.entry((user, about)) {
        Entry::Occupied(known) if is_older(&recorded.event, &known.get().event) => {}
        entry => {
            entry.insert_entry(recorded);
        }
    }
}

/// The users service decides presence in one place; names may come in any order.
const fn is_older(event: &Event, known: &Event) -> bool {
    match (event, known) {
        (Event::UserUpdated(user), Event::UserUpdated(known)) => user.version < known.version,
        _ => false,
    }
}

impl FanOut {
    pub fn new(state: AppState, telling: Arc<Telling>) -> Self {
        Self {
            state,
            telling,
            pending: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Hears events until `stop`.
    /// The pod takes no sockets while it cannot hear: `ready` says so.
    pub async fn follow(
        self: Arc<Self>,
        broker: Broker,
        pod: String,
        ready: Part,
        stop: CancellationToken,
    ) {
        broker
            .consume_pod_queue(Service::Notifications, &pod, &stop, |event| {
                match event {
                    // Sockets from before have missed something: they come
                    // back for a new hello.
                    PodEvent::Subscribed => {
                        self.state.identity.refresh_soon();
                        self.state.hub.end_all(End::FanOutLost);
                        self.telling.hear(Heard::Subscribed);
                        ready.set(true);
                    }
                    PodEvent::Events(events) => self.hear(&events),
                    // Closed sockets would come back to find the broker still away.
                    PodEvent::Lost => ready.set(false),
                }
                std::future::ready(())
            })
            .await;
    }

    fn hear(&self, events: &[Recorded]) {
        for recorded in events {
            match &recorded.event {
                Event::SessionRevoked(revoked) => {
                    self.state.identity.revoke(revoked);
                    self.state.hub.revoke(revoked);
                }
                Event::Noticed(noticed) => self.telling.hear(Heard::Stored(noticed.clone())),
                Event::Notice(told) => {
                    let heard = Heard::Changed(told.user_id, told.notice.clone());
                    self.telling.hear(heard);
                }
                Event::UserOnline(user) | Event::UserOffline(user) => {
                    self.note(user.user_id, About::Presence, recorded);
                }
                Event::UserUpdated(user) => self.note(user.user_id, About::Name, recorded),
                _ => {}
            }
        }
    }

    fn note(&self, user: UserId, about: About, recorded: &Recorded) {
        note(&mut self.pending(), user, about, recorded.clone());
        self.changed.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the sockets who came and went and who has another name, until
    /// `stop`. The change is written to the database first: a socket that opens
    /// now either finds it there or is told, whatever the other consumer has
    /// done so far.
    pub async fn tell_people(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
            }
            let events = mem::take(&mut *self.pending());
            match self.write(&events).await {
                Ok(()) => {
                    backoff = Backoff::default();
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = sleep(limits::PEOPLE_INTERVAL) => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, "telling who is who and who is online has to wait");
                    self.keep(events);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = backoff.wait() => {}
                    }
                    self.changed.notify_one();
                }
            }
        }
    }

    fn keep(&self, mut events: Pending) {
        let mut pending = self.pending();
        // What arrived meanwhile comes after it.
        for ((user, about), recorded) in mem::take(&mut *pending) {
            note(&mut events, user, about, recorded);
        }
        *pending = events;
    }

    async fn write(&self, events: &Pending) -> sqlx::Result<()> {
        let users: Vec<Uuid> = events.keys().map(|(user, _)| user.0).collect();
        let mut transaction = self.state.database.begin().await?;
        people::apply(&mut transaction, events.values()).await?;
        let now = people::presence_of(&mut transaction, &users).await?;
        transaction.commit().await?;
        let about = |kind| {
            now.iter()
                .filter(move |(user, _)| events.contains_key(&(user.id, kind)))
        };
        let named: Vec<_> = about(About::Name).map(|(user, _)| user.clone()).collect();
        let (came, went): (Vec<_>, Vec<_>) = about(About::Presence)
            .cloned()
            .partition(|(_, online)| *online);
        let hub = &self.state.hub;
        for users in frames(named) {
            hub.tell_members(&NotificationFrame::UserUpdated { users });
        }
        for users in frames(went.into_iter().map(|(user, _)| user).collect()) {
            hub.tell_all(&NotificationFrame::UserOffline { users });
        }
        for users in frames(came.into_iter().map(|(user, _)| user).collect()) {
            hub.tell_all(&NotificationFrame::UserOnline { users });
        }
        Ok(())
    }
}

/// As few frames as may tell of them.
fn frames(users: Vec<PublicUser>) -> impl Iterator<Item = Vec<PublicUser>> {
    let mut users = users.into_iter();
    iter::from_fn(move || {
        let some: Vec<_> = users.by_ref().take(limits::PEOPLE_PER_FRAME).collect();
        (!some.is_empty()).then_some(some)
    })
}
