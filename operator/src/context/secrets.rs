//! Secrets that ChatClusters refer to: read once, and again when the watch tells of
//! a change. All other Secrets are forgotten as soon as they are seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;

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
        let read = secret.map(|secret| {
            let content = Content {
                data: secret
                    .data
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(key, value)| (key, value.0))
                    .collect(),
                annotations: secret.metadata.annotations.unwrap_or_default(),
            };
            (
                secret.metadata.resource_version.unwrap_or_default(),
                Arc::new(content),
            )
        });
        let content = read.as_ref().map(|(_, content)| content.clone());
        let small = content
            .as_ref()
            .is_none_or(|it| it.data.values().map(Vec::len).sum::<usize>() <= KEPT_BYTES);
        // An event during the call may have told of something newer.
        if let Some(entry) = self.lock().get_mut(&key)
            && Some(entry.events) == events
            && small
        {
            entry.read = Some(read);
        }
        Ok(content)
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
