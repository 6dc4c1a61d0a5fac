//! What all passes share: which ChatClusters there are, what the watches told, and what
//! was seen.

pub mod proofs;
pub mod queue;
pub mod secrets;
#[cfg(test)]
pub mod testing;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;

use crate::chat::{ChatRef, Undecodable};
use crate::children::Children;
use crate::client::Reach;
use crate::crd::{ChatCluster, ChatClusterStatus};
use crate::credentials::Credentials;
use crate::events::Announcer;
use crate::facts::Api;
use crate::validate::Defaults;
use proofs::Proofs;
use queue::{Queue, Reason};
use secrets::Secrets;

/// Everything that passes share.
pub struct Context {
    pub client: Client,
    pub reach: Arc<Reach>,
    pub defaults: Defaults,
    pub queue: Queue,
    pub children: Children,
    pub secrets: Secrets,
    pub proofs: Proofs,
    pub announcer: Announcer,
    chats: Mutex<HashMap<ChatRef, Known>>,
    apis: Mutex<BTreeSet<Api>>,
    /// When the status of each was last written.
    written: Mutex<HashMap<ChatRef, Instant>>,
    /// The keys with which every pod of auth was seen to run.
    keys_in_use: Mutex<HashMap<ChatRef, String>>,
}

/// What is known of a ChatCluster.
#[derive(Clone)]
pub enum Known {
    Chat(Arc<ChatCluster>),
    Undecodable(Arc<Undecodable>),
}

impl Context {
    pub fn new(
        client: Client,
        reach: Arc<Reach>,
        defaults: Defaults,
        announcer: Announcer,
    ) -> Self {
        Self {
            client,
            reach,
            defaults,
            announcer,
            queue: Queue::default(),
            children: Children::default(),
            secrets: Secrets::default(),
            proofs: Proofs::default(),
            chats: Mutex::default(),
            written: Mutex::default(),
            apis: Mutex::default(),
            keys_in_use: Mutex::default(),
        }
    }

    /// Takes in a ChatCluster, and looks at it when it is not just its status that changed.
    pub fn see(&self, key: ChatRef, chat: ChatCluster, reason: Reason) {
        let edited = |old: &Known| {
            let Known::Chat(old) = old else {
                return true;
            };
            let (old, new) = (&old.metadata, &chat.metadata);
            old.uid != new.uid
                || old.generation != new.generation
                || old.annotations != new.annotations
                || old.deletion_timestamp != new.deletion_timestamp
        };
        let mut chats = lock(&self.chats);
        let is_news = chats.get(&key).is_none_or(edited);
        chats.insert(key.clone(), Known::Chat(Arc::new(chat)));
        drop(chats);
        if is_news {
            self.queue.add(key, reason);
        }
    }

    /// Takes in a ChatCluster that cannot be understood.
    pub fn see_undecodable(&self, key: ChatRef, object: Undecodable) {
        tracing::warn!(chat = %key, "cannot be understood: {}", object.error);
        lock(&self.chats).insert(key.clone(), Known::Undecodable(Arc::new(object)));
        self.queue.add(key, Reason::First);
    }

    /// Takes in that a ChatCluster is gone.
    pub fn forget(&self, key: &ChatRef) {
        lock(&self.chats).remove(key);
        lock(&self.written).remove(key);
        lock(&self.keys_in_use).remove(key);
        self.proofs.forget(key);
        self.secrets.forget(key);
        self.queue.forget(key);
    }

    /// All ChatClusters, each to be looked at once.
    pub fn add_all(&self, reason: Reason) {
        for key in self.chats() {
            self.queue.add(key, reason);
        }
    }

    pub fn chats(&self) -> Vec<ChatRef> {
        lock(&self.chats).keys().cloned().collect()
    }

    /// Takes in which kinds of other operators there are.
    pub fn set_apis(&self, apis: BTreeSet<Api>) {
        let before = std::mem::replace(&mut *lock(&self.apis), apis.clone());
        if before != apis {
            tracing::info!(?apis, "optional kinds that this cluster knows");
            self.add_all(Reason::Touched);
        }
    }

    pub fn apis(&self) -> BTreeSet<Api> {
        lock(&self.apis).clone()
    }

    pub fn known(&self, key: &ChatRef) -> Option<Known> {
        lock(&self.chats).get(key).cloned()
    }

    /// Notes a status that was written. The watch will say the same; until then a next
    /// pass must know it.
    pub fn wrote(&self, key: &ChatRef, uid: Option<&str>, status: ChatClusterStatus) {
        if let Some(Known::Chat(known)) = lock(&self.chats).get_mut(key)
            && known.metadata.uid.as_deref() == uid
        {
            Arc::make_mut(known).status = Some(status);
            lock(&self.written).insert(key.clone(), Instant::now());
        }
    }

    /// How long ago this operator wrote a status of it, if it did.
    pub fn since_written(&self, key: &ChatRef) -> Option<Duration> {
        lock(&self.written).get(key).map(Instant::elapsed)
    }

    /// Whether every pod of auth is known to run with these keys.
    pub fn keys_are_in_use(&self, key: &ChatRef, credentials: &Credentials) -> bool {
        lock(&self.keys_in_use).get(key) == Some(&keys(credentials))
    }

    /// Notes that every pod of auth runs with these keys; `true` when that is news.
    pub fn run_with_keys(&self, key: &ChatRef, credentials: &Credentials) -> bool {
        let keys = keys(credentials);
        lock(&self.keys_in_use).insert(key.clone(), keys.clone()) != Some(keys)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keys(credentials: &Credentials) -> String {
    crate::build::meta::hash(&(&credentials.jwt_key, &credentials.jwt_key_previous))
}
