//! Since when which chat is ready, as one who watches them sees it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use futures::StreamExt;
use jiff::Timestamp;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use kube::{Client, ResourceExt};
use tokio::task::JoinHandle;

use crate::wait::await_until;

type Since = Arc<Mutex<HashMap<String, Timestamp>>>;

/// Ends when it is dropped.
pub struct Readiness {
    since: Since,
    watch: JoinHandle<()>,
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Readiness {
    pub fn watch(client: &Client) -> Self {
        let since = Since::default();
        let kind = GroupVersionKind::gvk("chatcluster.io", "v1alpha1", "ChatCluster");
        let chats = Api::all_with(client.clone(), &ApiResource::from_gvk(&kind));
        Self {
            watch: tokio::spawn(follow(chats, since.clone())),
            since,
        }
    }

    /// Waits until a chat has been ready, and says since when.
    pub async fn of(&self, chat: &str, limit: Duration) -> Result<Timestamp> {
        await_until(&format!("{chat} is ready"), limit, async || {
            Ok(self.lock().get(chat).copied())
        })
        .await
    }

    /// How many were ready, and since when the last of them.
    pub fn all(&self) -> (usize, Option<Timestamp>) {
        let since = self.lock();
        (since.len(), since.values().max().copied())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Timestamp>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn follow(chats: Api<DynamicObject>, since: Since) {
    let events = watcher(chats, Config::default())
        .default_backoff()
        .applied_objects();
    futures::pin_mut!(events);
    while let Some(event) = events.next().await {
        if let Ok(chat) = event
            && is_ready(&chat)
        {
            let mut since = since.lock().unwrap_or_else(PoisonError::into_inner);
            since.entry(chat.name_any()).or_insert_with(Timestamp::now);
        }
    }
}

fn is_ready(chat: &DynamicObject) -> bool {
    let conditions = chat.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|it| {
        it["type"] == "Ready"
            && it["status"] == "True"
            && it["observedGeneration"].as_i64() == chat.metadata.generation
    })
}
