//! What the watches told about the objects that the operator made: versions,
//! owners and states, and no bodies.

pub mod state;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::api::ObjectMeta;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::build::meta::{OWNER_UID, TEMPLATE};
use crate::chat::ChatRef;
use crate::crd::GROUP;
use crate::digest;
use crate::kinds::{Kind, Watch};

/// The label that every object of ours has, and its value.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "chat-operator");
/// The label with the name of the ChatCluster.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The ChatCluster with this uid controls it.
    Chat(String),
    /// Made for a ChatCluster of this name, and to be kept when that goes.
    Kept,
    /// The ChatCluster with this uid controlled it, and somebody took the owner away.
    Lost(String),
    /// Somebody else, or nobody.
    Other,
}

/// An object of ours.
#[derive(Clone, Debug)]
pub struct Child {
    pub uid: String,
    pub owner: Owner,
    /// On its way out.
    pub deleting: bool,
    /// The digest of what it holds of ours, as long as nothing changed since that was seen.
    pub holds: Option<u64>,
    /// The hash of its pod template, of Deployments.
    pub template: Option<String>,
    /// Its generation and status, of kinds whose status is watched.
    pub status: Value,
    pub version: u64,
    pub(crate) change: u64,
    pub(crate) epoch: u64,
}

/// By kind and name.
pub type Key = (&'static str, String);

/// All objects of ours, of all ChatClusters.
#[derive(Debug, Default)]
pub struct Children {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    of: HashMap<ChatRef, BTreeMap<Key, Child>>,
    epoch: u64,
}

impl Children {
    /// A copy of what is known of one ChatCluster's objects.
    pub fn of(&self, chat: &ChatRef) -> BTreeMap<Key, Child> {
        self.lock().of.get(chat).cloned().unwrap_or_default()
    }

    /// Takes in what a watch, a list or the answer to a write told. Returns the
    /// ChatCluster when that is news to it.
    pub fn see(&self, kind: &'static Kind, object: &DynamicObject) -> Option<ChatRef> {
        let Some(chat) = chat_of(&object.metadata) else {
            return self.lose(kind, &object.metadata);
        };
        let mut inner = self.lock();
        let epoch = inner.epoch;
        let mut new = Child::new(kind, object, epoch)?;
        let children = inner.of.entry(chat.clone()).or_default();
        let key = (kind.name, object.metadata.name.clone()?);
        let Some(known) = children.get_mut(&key) else {
            children.insert(key, new);
            return Some(chat);
        };
        known.epoch = epoch;
        if known.uid == new.uid && new.version < known.version {
            return None;
        }
        if known.uid == new.uid && is_orphan(&object.metadata) {
            new.owner = known.owner.lost(new.owner);
        }
        let untouched = known.uid == new.uid && known.change == new.change;
        let same = untouched && known.status == new.status && known.deleting == new.deleting;
        let holds = known.holds.filter(|_| untouched);
        *known = Child { holds, ..new };
        (!same).then_some(chat)
    }

    /// An object without our labels is none of ours, even if it was before.
    fn lose(&self, kind: &'static Kind, metadata: &ObjectMeta) -> Option<ChatRef> {
        let key = (kind.name, metadata.name.clone()?);
        let mut inner = self.lock();
        let mut here = inner.of.iter_mut().filter(|(chat, children)| {
            Some(&chat.namespace) == metadata.namespace.as_ref()
                && children
                    .get(&key)
                    .is_some_and(|it| Some(&it.uid) == metadata.uid.as_ref())
        });
        let (chat, children) = here.next()?;
        children.remove(&key);
        Some(chat.clone())
    }

    /// Takes in an object whose content is known to be this.
    pub fn verify(&self, kind: &'static Kind, object: &DynamicObject, holds: u64) {
        self.see(kind, object);
        let (Some(chat), Some(name)) = (chat_of(&object.metadata), &object.metadata.name) else {
            return;
        };
        let mut inner = self.lock();
        let known = inner
            .of
            .get_mut(&chat)
            .and_then(|children| children.get_mut(&(kind.name, name.clone())));
        // Something newer may have come by the watch meanwhile.
        if let Some(known) = known
            && known.change == change(kind, object)
        {
            known.holds = Some(holds);
        }
    }

    /// Takes in that an object is gone.
    pub fn forget(&self, kind: &'static Kind, gone: &ObjectMeta) -> Option<ChatRef> {
        let chat = chat_of(gone)?;
        let key = (kind.name, gone.name.clone()?);
        self.forget_one(&chat, &key, gone.uid.as_deref()?)
            .then_some(chat)
    }

    /// The same of the object with this uid; whether it was known.
    pub fn forget_one(&self, chat: &ChatRef, key: &Key, uid: &str) -> bool {
        let mut inner = self.lock();
        let Some(children) = inner.of.get_mut(chat) else {
            return false;
        };
        if children.get(key).is_none_or(|known| known.uid != uid) {
            return false;
        }
        children.remove(key);
        if children.is_empty() {
            inner.of.remove(chat);
        }
        true
    }

    /// A list of a kind begins. Give the result to [`Self::end_of_list`].
    pub fn begin_of_list(&self) -> u64 {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.epoch
    }

    /// Everything of this kind that the list did not name is gone; `namespace` is
    /// `None` when the list was of all of them.
    pub fn end_of_list(
        &self,
        kind: &'static Kind,
        namespace: Option<&str>,
        epoch: u64,
    ) -> Vec<ChatRef> {
        let mut poorer = Vec::new();
        self.lock().of.retain(|chat, children| {
            if namespace.is_none_or(|namespace| namespace == chat.namespace) {
                let before = children.len();
                children.retain(|key, child| key.0 != kind.name || child.epoch >= epoch);
                if children.len() < before {
                    poorer.push(chat.clone());
                }
            }
            !children.is_empty()
        });
        poorer
    }

    /// Nothing is known to hold what it should any more.
    pub fn distrust(&self) {
        for child in self.lock().of.values_mut().flat_map(BTreeMap::values_mut) {
            child.holds = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owner {
    /// Whose an object is that says to be nobody's now.
    fn lost(&self, now: Self) -> Self {
        match self {
            Self::Chat(uid) | Self::Lost(uid) if now == Self::Other => Self::Lost(uid.clone()),
            _ => now,
        }
    }
}

impl Child {
    fn new(kind: &Kind, object: &DynamicObject, epoch: u64) -> Option<Self> {
        let metadata = &object.metadata;
        Some(Self {
            uid: metadata.uid.clone()?,
            owner: owner_of(metadata),
            deleting: metadata.deletion_timestamp.is_some(),
            holds: None,
            template: metadata
                .annotations
                .as_ref()
                .and_then(|all| all.get(TEMPLATE).cloned()),
            status: match kind.watch {
                Watch::Status => pruned(metadata, object.data.get("status")),
                _ => Value::Null,
            },
            version: version(metadata),
            change: change(kind, object),
            epoch,
        })
    }
}

/// Whose an object says to be.
pub fn owner_of(metadata: &ObjectMeta) -> Owner {
    let controller = metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    let kept = || {
        metadata
            .annotations
            .as_ref()
            .is_some_and(|all| all.contains_key(OWNER_UID))
    };
    match controller {
        Some(owner) if is_chat(&owner.api_version, &owner.kind) => Owner::Chat(owner.uid.clone()),
        None if kept() && chat_of(metadata).is_some() => Owner::Kept,
        _ => Owner::Other,
    }
}

fn is_orphan(metadata: &ObjectMeta) -> bool {
    metadata.owner_references.as_ref().is_none_or(Vec::is_empty)
}

fn is_chat(api_version: &str, kind: &str) -> bool {
    kind == "ChatCluster" && api_version.split('/').next() == Some(GROUP)
}

/// For which ChatCluster an object was made, by its labels.
pub fn chat_of(metadata: &ObjectMeta) -> Option<ChatRef> {
    let labels = metadata.labels.as_ref()?;
    (labels.get(MANAGED_BY.0).map(String::as_str) == Some(MANAGED_BY.1)).then_some(())?;
    Some(ChatRef {
        namespace: metadata.namespace.clone()?,
        name: labels.get(INSTANCE)?.clone(),
    })
}

/// Resource versions are numbers that grow, since Kubernetes 1.35 by contract.
pub fn version(metadata: &ObjectMeta) -> u64 {
    metadata
        .resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
        .unwrap_or(u64::MAX)
}

/// A number that changes when anything does that the operator could have set.
fn change(kind: &Kind, object: &DynamicObject) -> u64 {
    let metadata = &object.metadata;
    let told = match kind.watch {
        Watch::Version => return version(metadata),
        Watch::Generation | Watch::Status => json!(metadata.generation),
        Watch::Spec => object.data.get("spec").cloned().unwrap_or_default(),
    };
    let mut annotations = metadata.annotations.clone().unwrap_or_default();
    // Written by the controller of Deployments at every rollout.
    annotations.remove("deployment.kubernetes.io/revision");
    digest::of(&json!([
        told,
        metadata.labels,
        annotations,
        metadata.owner_references
    ]))
}

/// A status without the times at which things were looked at.
fn pruned(metadata: &ObjectMeta, status: Option<&Value>) -> Value {
    let mut status = status.cloned().unwrap_or_default();
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        for condition in conditions.iter_mut().filter_map(Value::as_object_mut) {
            condition.retain(|field, _| {
                matches!(field.as_str(), "type" | "status" | "reason" | "message")
            });
        }
    }
    json!({"generation": metadata.generation, "status": status})
}

#[cfg(test)]
mod tests;
