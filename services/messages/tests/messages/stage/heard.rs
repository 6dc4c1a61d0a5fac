//! Everything that a pod of socket-handler hears, in the order of arrival.

use std::sync::{Arc, Mutex, PoisonError};

use chat_events::{
    ClientId, ConversationId, Event, LogEvent, MessageView, Recorded, SendRefused, Service,
};
use chat_kit::broker::{Broker, PodEvent};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::until;

#[derive(Clone)]
pub struct Heard {
    events: Arc<Mutex<Vec<Recorded>>>,
}

impl Heard {
    pub async fn listen(broker: Broker, stop: CancellationToken) -> Self {
        let heard = Self {
            events: Arc::default(),
        };
        let (subscribed, mut ready) = watch::channel(false);
        let events = heard.events.clone();
        tokio::spawn(async move {
            let pod = Service::SocketHandler;
            broker
                .consume_pod_queue(pod, "test", &stop, |event| {
                    match event {
                        PodEvent::Subscribed => {
                            subscribed.send_replace(true);
                        }
                        PodEvent::Events(new) => events
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .extend(new.iter().cloned()),
                        PodEvent::Lost => {}
                    }
                    std::future::ready(())
                })
                .await;
        });
        ready
            .wait_for(|ready| *ready)
            .await
            .expect("a subscription");
        heard
    }

    pub fn all(&self) -> Vec<Recorded> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The log entries of a conversation as they arrived, repeats included.
    pub fn entries(&self, conversation: ConversationId) -> Vec<LogEvent> {
        let entry = |recorded: Recorded| match recorded.event {
            Event::MessageStored { entry, .. } => Some(entry),
            _ => None,
        };
        self.all()
            .into_iter()
            .filter_map(entry)
            .filter(|entry| entry.conversation_id() == conversation)
            .collect()
    }

    /// Every `message.stored` of that client id.
    pub fn stored_all(&self, client_id: ClientId) -> Vec<MessageView> {
        let message = |recorded: Recorded| match recorded.event {
            Event::MessageStored {
                entry: LogEvent::Message { message, .. },
                ..
            } => Some(message),
            _ => None,
        };
        self.all()
            .into_iter()
            .filter_map(message)
            .filter(|message| message.client_id == client_id)
            .collect()
    }

    pub async fn stored(&self, client_id: ClientId) -> MessageView {
        until("message.stored", async || {
            self.stored_all(client_id).into_iter().next()
        })
        .await
    }

    pub async fn refused(&self, client_id: ClientId) -> SendRefused {
        let refusal = |recorded: Recorded| match recorded.event {
            Event::MessageRefused(refused) => Some(refused),
            _ => None,
        };
        until("message.refused", async || {
            self.all()
                .into_iter()
                .filter_map(refusal)
                .find(|refused| refused.client_id == client_id)
        })
        .await
    }
}
