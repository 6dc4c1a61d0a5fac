//! This pod's own queue: what its open sockets must hear.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat_events::{Event, NotificationFrame, Recorded, Service, UserId};
use chat_kit::broker::{Backoff, Broker, PodEvent};
use chat_kit::health::Part;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::people;
use crate::socket::End;
use crate::state::AppState;

pub struct FanOut {
    state: AppState,
    /// The newest presence of each user that sockets were not told yet.
    presence: Mutex<HashMap<UserId, Recorded>>,
    changed: Notify,
}

impl FanOut {
    pub fn new(state: AppState) -> Self {
        Self {
            state,
            presence: Mutex::default(),
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
                        self.state.hub.end_all(End::FanOutLost);
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
                Event::Notice(told) => {
                    let unread = told.unread;
                    let frame = match told.notice.clone() {
                        Some(notice) => NotificationFrame::Notice { notice, unread },
                        None => NotificationFrame::Unread { unread },
                    };
                    self.state.hub.tell(told.user_id, &frame);
                }
                Event::UserOnline(user) | Event::UserOffline(user) => {
                    self.presence().insert(user.user_id, recorded.clone());
                    self.changed.notify_one();
                }
                _ => {}
            }
        }
    }

    fn presence(&self) -> MutexGuard<'_, HashMap<UserId, Recorded>> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all sockets who came and went, until `stop`. The change is written
    /// to the database first: a socket that opens now either finds it there or
    /// is told, whatever the other consumer has done so far.
    pub async fn tell_presence(self: Arc<Self>, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
            }
            let events = mem::take(&mut *self.presence());
            match self.write(&events).await {
                Ok(()) => backoff = Backoff::default(),
                Err(error) => {
                    tracing::warn!(error = %error, "telling who is online has to wait");
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

    fn keep(&self, events: HashMap<UserId, Recorded>) {
        let mut presence = self.presence();
        for (user, recorded) in events {
            // One that arrived meanwhile is newer.
            presence.entry(user).or_insert(recorded);
        }
    }

    async fn write(&self, events: &HashMap<UserId, Recorded>) -> sqlx::Result<()> {
        let users: Vec<Uuid> = events.keys().map(|user| user.0).collect();
        let mut transaction = self.state.database.begin().await?;
        people::apply(&mut transaction, events.values()).await?;
        let now = people::presence_of(&mut transaction, &users).await?;
        transaction.commit().await?;
        for (user, online) in now {
            let frame = if online {
                NotificationFrame::UserOnline(user)
            } else {
                NotificationFrame::UserOffline(user)
            };
            self.state.hub.tell_all(&frame);
        }
        Ok(())
    }
}
