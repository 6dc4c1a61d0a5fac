//! Events on ChatClusters: one for each transition.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::apply::TakenBack;
use crate::chat::Undecodable;
use crate::digest::MANAGER;

/// How long an event may keep a pass waiting.
const PATIENCE: Duration = Duration::from_secs(5);
/// The API server accepts no more.
const NOTE: usize = 1024;

pub struct Announcer {
    recorder: Recorder,
    /// The generation of each undecodable object that was announced, by uid.
    undecodable: Mutex<HashMap<String, Option<i64>>>,
}

impl Announcer {
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter {
            controller: format!("chatcluster.io/{MANAGER}"),
            instance: Some(instance),
        };
        Self {
            recorder: Recorder::new(client, reporter),
            undecodable: Mutex::default(),
        }
    }

    /// Says that a condition has turned.
    pub async fn announce(&self, chat: &ObjectReference, condition: &Condition) {
        let good = matches!(
            (condition.type_.as_str(), condition.status.as_str()),
            ("Ready", "True") | ("Paused", _)
        );
        let event = Event {
            type_: if good {
                EventType::Normal
            } else {
                EventType::Warning
            },
            reason: condition.reason.clone(),
            note: Some(condition.message.chars().take(NOTE).collect()),
            action: condition.type_.clone(),
            secondary: None,
        };
        self.publish(chat, &event).await;
    }

    /// Says that fields of a child which somebody had set are as they should be again.
    pub async fn announce_taken_back(&self, chat: &ObjectReference, taken_back: TakenBack) {
        let kind = taken_back.object.kind.as_deref().unwrap_or_default();
        let name = taken_back.object.name.as_deref().unwrap_or_default();
        let note = format!("{kind} {name} is as before: {}", taken_back.what);
        let event = Event {
            type_: EventType::Warning,
            reason: "ChangeTakenBack".into(),
            note: Some(note.chars().take(NOTE).collect()),
            action: "Apply".into(),
            secondary: Some(taken_back.object),
        };
        self.publish(chat, &event).await;
    }

    /// Says once for each generation that an object cannot be understood.
    pub async fn announce_undecodable(&self, object: &Undecodable) {
        let uid = object.reference.uid.clone().unwrap_or_default();
        let former = {
            let mut known = self
                .undecodable
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            known.insert(uid, object.generation)
        };
        if former == Some(object.generation) {
            return;
        }
        let event = Event {
            type_: EventType::Warning,
            reason: "Undecodable".into(),
            note: Some(object.error.chars().take(NOTE).collect()),
            action: "Decode".into(),
            secondary: None,
        };
        self.publish(&object.reference, &event).await;
    }

    /// The object says the same in its status, so that a lost event is no loss.
    async fn publish(&self, chat: &ObjectReference, event: &Event) {
        match tokio::time::timeout(PATIENCE, self.recorder.publish(event, chat)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(reason = event.reason, "event: {error}"),
            Err(_) => tracing::warn!(reason = event.reason, "event: no answer"),
        }
    }
}
