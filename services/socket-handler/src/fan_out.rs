//! This pod's own queue, and what to do after it was lost: once the pod itself is
//! current again, a heartbeat tells every socket what it may have missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chat_events::{Event, Service, UserId};
use chat_kit::broker::{Backoff, Broker, PodEvent};
use chat_kit::health::Part;
use chat_kit::identity::Identity;
use chat_kit::planted::{self, Bug};
use futures::{StreamExt, stream};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;
use crate::messages::{AskError, Messages};

/// Users whose conversations are fetched at the same time.
const AT_ONCE: usize = 8;
/// Nobody says that a database was restored: it is found within this, with one question
/// in the name of somebody who is here.
const EPOCH: Duration = Duration::from_secs(10);

pub struct FanOut {
    hub: Arc<Hub>,
    identity: Identity,
    messages: Messages,
    ready: Part,
    subscribed: AtomicBool,
    changed: Notify,
}

impl FanOut {
    pub fn new(hub: Arc<Hub>, identity: Identity, messages: Messages, ready: Part) -> Arc<Self> {
        Arc::new(Self {
            hub,
            identity,
            messages,
            ready,
            subscribed: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    /// Feeds the hub from the broker until `stop`.
    pub async fn follow(self: Arc<Self>, broker: Broker, pod: String, stop: CancellationToken) {
        broker
            .consume_pod_queue(Service::SocketHandler, &pod, &stop, |event| {
                self.take(event);
                std::future::ready(())
            })
            .await;
    }

    fn take(&self, event: PodEvent) {
        match event {
            PodEvent::Events(events) => {
                for recorded in events.iter() {
                    if let Event::SessionRevoked(revoked) = &recorded.event {
                        if planted::bug(Bug::RevokeNotTold) {
                            continue;
                        }
                        // First: a socket that opens just now asks for it.
                        self.identity.revoke(revoked);
                    }
                    self.hub.push(&recorded.event);
                }
            }
            PodEvent::Subscribed => {
                self.subscribed.store(true, Ordering::Release);
                self.changed.notify_one();
            }
            PodEvent::Lost => {
                self.subscribed.store(false, Ordering::Release);
                self.ready.set(false);
            }
        }
    }

    /// After each subscription, brings the pod up to date and tells the sockets. Looks
    /// after the epoch meanwhile.
    pub async fn recover(self: Arc<Self>, stop: CancellationToken) {
        let mut epoch = tokio::time::interval(EPOCH);
        epoch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => {}
                _ = epoch.tick() => {
                    self.look_at_epoch().await;
                    continue;
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.refresh() => {}
            }
            // Unless it was lost again meanwhile.
            self.ready.set(self.subscribed.load(Ordering::Acquire));
        }
    }

    async fn look_at_epoch(&self) {
        let Some(mailbox) = self.hub.anybody() else {
            return;
        };
        // While messages is away there is nothing new.
        if let Ok(snapshot) = self.messages.positions(&mailbox.peer.token).await {
            self.hub.merge(mailbox.peer.user, None, &snapshot);
        }
    }

    /// What was said while nobody listened.
    async fn refresh(&self) {
        tokio::join!(self.refresh_logs(), self.refresh_sessions());
    }

    async fn refresh_logs(&self) {
        stream::iter(self.hub.users())
            .for_each_concurrent(AT_ONCE, |user| self.refresh_user(user))
            .await;
    }

    async fn refresh_sessions(&self) {
        self.identity.refresh().await;
        self.hub.end_revoked(|id| self.identity.is_revoked(id));
    }

    async fn refresh_user(&self, user: UserId) {
        let mut backoff = Backoff::default();
        let mut refused = Vec::new();
        while let Some(mailbox) = self.hub.socket_of(user, &refused) {
            match self.messages.positions(&mailbox.peer.token).await {
                Ok(snapshot) => {
                    self.hub.merge(user, None, &snapshot);
                    break;
                }
                Err(AskError::Unavailable(error)) => {
                    tracing::warn!(error = format!("{error:#}"), "waiting for messages");
                    backoff.wait().await;
                }
                // This session has ended; another one of the user may go on.
                Err(AskError::NotFound | AskError::Unauthenticated) => {
                    refused.push(mailbox.peer.connection);
                }
            }
        }
        self.hub.beat(user);
    }
}
