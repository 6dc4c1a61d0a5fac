//! Secrets that ChatClusters refer to: read once, and again when the watch tells of
//! a change. All other Secrets are forgotten as soon as they are seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DynamicObject};

use crate::apply::{Error, call};
use crate::chat::ChatRef;

/// Larger ones are read again at each pass, so that memory follows no large Secret.
const KEPT_BYTES: usize = 64 << 10;

/// What was read of a Secret.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub data: BTreeMap<String, Vec<u8>>,
    pub annotations: BTreeMap<String, String>,
}

impl Content {
    fn is_small(&self) -> bool {
        self.data.values().map(Vec::len).sum::<usize>() <= KEPT_BYTES
    }
}

impl From<Secret> for Content {
    fn from(secret: Secret) -> Self {
        let data = secret.data.unwrap_or_default().into_iter();
        Self {
            data: data.map(|(key, value)| (key, value.0)).collect(),
            annotations: secret.metadata.annotations.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Default)]
pub struct Secrets {
    inner: Mutex<HashMap<Name, Entry>>,
}

/// Namespace and name.
type Name = (String, String);

#[derive(Debug, Default)]
struct Entry {
    chats: BTreeSet<ChatRef>,
    /// Changes with each event.
    events: u64,
    /// The version of which the last event told; that it is gone is the newest of all.
    told: u64,
    /// Its resource version and content, `None` when there is no such Secret.
    read: Option<Option<(String, Arc<Content>)>>,
}

impl Secrets {
    /// Notes that a ChatCluster refers to these Secrets of its namespace, and to no others.
    pub fn refer(&self, chat: &ChatRef, names: &BTreeSet<String>) {
        let mut inner = self.lock();
        inner.retain(|(namespace, name), entry| {
            if *namespace == chat.namespace && !names.contains(name) {
                entry.chats.remove(chat);
            }
            !entry.chats.is_empty()
        });
        for name in names {
            let name = (chat.namespace.clone(), name.clone());
            inner.entry(name).or_default().chats.insert(chat.clone());
        }
    }

    pub fn forget(&self, chat: &ChatRef) {
        self.refer(chat, &BTreeSet::new());
    }

    /// Takes in an event; returns the ChatClusters for which it is news. The version
    /// is `None` when the Secret is gone.
    pub fn see(&self, namespace: &str, name: &str, version: Option<&str>) -> Vec<ChatRef> {
        let mut inner = self.lock();
        let Some(entry) = inner.get_mut(&(namespace.to_owned(), name.to_owned())) else {
            return Vec::new();
        };
        entry.told = version.map_or(u64::MAX, |it| it.parse().unwrap_or(u64::MAX));
        let known = entry
            .read
            .as_ref()
            .map(|read| read.as_ref().map(|it| it.0.as_str()));
        if known == Some(version) {
            return Vec::new();
        }
        entry.events += 1;
        entry.read = None;
        entry.chats.iter().cloned().collect()
    }

    /// The content of a Secret to which somebody refers, `None` when there is none.
    pub async fn read(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Content>>, Error> {
        let key = (namespace.to_owned(), name.to_owned());
        let events = match self.lock().get(&key) {
            Some(Entry {
                read: Some(read), ..
            }) => return Ok(read.as_ref().map(|(_, content)| content.clone())),
            entry => entry.map(|entry| entry.events),
        };
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let object = format!("Secret {name}");
        let secret = call("get", &object, || api.get_opt(name)).await?;
        let read = secret.map(|mut secret| {
            let version = secret.metadata.resource_version.take();
            (version.unwrap_or_default(), Arc::new(Content::from(secret)))
        });
        let content = read.as_ref().map(|(_, content)| content.clone());
        let small = content.as_ref().is_none_or(|it| it.is_small());
        // An event during the call may have told of something newer.
        if let Some(entry) = self.lock().get_mut(&key)
            && Some(entry.events) == events
            && small
        {
            entry.read = Some(read);
        }
        Ok(content)
    }

    /// Takes in a Secret that was just written, as the server answered; so it needs not
    /// be read. What an event has told since is newer.
    pub fn wrote(&self, written: &DynamicObject) {
        let metadata = &written.metadata;
        let name = (metadata.namespace.clone(), metadata.name.clone());
        let (Some(namespace), Some(name)) = name else {
            return;
        };
        let version = metadata.resource_version.clone().unwrap_or_default();
        let Ok(number) = version.parse::<u64>() else {
            return;
        };
        let Ok(secret) = written.clone().try_parse::<Secret>() else {
            return;
        };
        let content = Content::from(secret);
        if let Some(entry) = self.lock().get_mut(&(namespace, name))
            && entry.told <= number
            && content.is_small()
        {
            entry.read = Some(Some((version, Arc::new(content))));
        }
    }

    /// Forgets what was read before this version was written.
    pub fn expect(&self, namespace: &str, name: &str, version: u64) {
        if let Some(entry) = self
            .lock()
            .get_mut(&(namespace.to_owned(), name.to_owned()))
        {
            let read = entry.read.as_ref().and_then(Option::as_ref);
            let read = read.and_then(|(version, _)| version.parse::<u64>().ok());
            if read.is_some_and(|read| read < version) {
                entry.read = None;
            }
        }
    }

    /// What was read of one is not to be believed any more.
    pub fn distrust(&self, namespace: &str, name: &str) {
        if let Some(entry) = self
            .lock()
            .get_mut(&(namespace.to_owned(), name.to_owned()))
        {
            entry.events += 1;
            entry.read = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn chat(name: &str) -> ChatRef {
        ChatRef {
            namespace: "n".into(),
            name: name.into(),
        }
    }

    fn referring() -> Secrets {
        let secrets = Secrets::default();
        secrets.refer(&chat("a"), &["db".to_owned()].into());
        secrets.refer(&chat("b"), &["db".to_owned(), "tls".to_owned()].into());
        secrets
    }

    #[test]
    fn an_event_wakes_those_who_refer_to_the_secret() {
        let secrets = referring();
        assert_eq!(secrets.see("n", "db", Some("1")), [chat("a"), chat("b")]);
        assert_eq!(secrets.see("n", "tls", Some("1")), [chat("b")]);
        assert!(secrets.see("other", "db", Some("1")).is_empty());
    }

    #[test]
    fn nothing_is_kept_of_other_secrets() {
        let secrets = referring();
        assert!(secrets.see("n", "strange", Some("1")).is_empty());
        secrets.forget(&chat("a"));
        secrets.forget(&chat("b"));
        assert!(secrets.lock().is_empty());
    }

    #[test]
    fn what_was_written_is_known_unless_something_newer_was_told() {
        let secrets = referring();
        let written = |version: &str| {
            let metadata = json!({"namespace": "n", "name": "tls", "resourceVersion": version});
            let object = json!({"metadata": metadata, "data": {"key": "b2xk"}});
            let object = serde_json::from_value(object).unwrap_or_else(|error| panic!("{error}"));
            secrets.wrote(&object);
            let inner = secrets.lock();
            let entry = inner.get(&("n".to_owned(), "tls".to_owned()));
            let (version, content) = entry?.read.clone()??;
            Some((version, content.data.get("key").cloned()?))
        };
        let old = Some(("7".to_owned(), b"old".to_vec()));
        assert_eq!(written("7"), old);
        assert!(secrets.see("n", "tls", Some("7")).is_empty());
        assert_eq!(secrets.see("n", "tls", Some("8")), [chat("b")]);
        assert_eq!(written("7"), None);
        assert!(written("8").is_some());
        assert_eq!(secrets.see("n", "tls", None), [chat("b")]);
        assert_eq!(written("8"), None);
    }

    #[test]
    fn the_version_that_was_read_is_no_news() {
        let secrets = referring();
        if let Some(entry) = secrets.lock().get_mut(&("n".to_owned(), "tls".to_owned())) {
            entry.read = Some(Some(("7".into(), Arc::default())));
        }
        assert!(secrets.see("n", "tls", Some("7")).is_empty());
        assert_eq!(secrets.see("n", "tls", Some("8")), [chat("b")]);
        assert_eq!(secrets.see("n", "tls", None), [chat("b")]);
    }
}
