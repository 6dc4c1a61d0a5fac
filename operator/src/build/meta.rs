//! Names, labels and owners of everything that is built.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use chat_events::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Serialize;

use crate::validate::Validated;

/// On pod templates: another content makes other pods.
pub const CONTENT: &str = "chatcluster.io/content";
/// On Deployments: the hash of their pod template, which the watches do not tell.
pub const TEMPLATE: &str = "chatcluster.io/template";
/// In place of an owner, on what outlives its ChatCluster.
pub const OWNER_UID: &str = "chatcluster.io/owner-uid";

/// The name of a child; `part` is one of auth, users, messages, notifications,
/// socket-handler, web, postgres, rabbitmq and redis, or begins with one.
pub fn name(chat: &Validated, part: &str) -> String {
    format!("{}-{part}", chat.name)
}

/// The part of pods that bring a database up to date: never that of the service,
/// or they would be asked for its answers.
pub fn migration(service: Service) -> String {
    format!("{}-migration", service.name())
}

/// What the pods of a part are found by. Never changes: selectors cannot.
pub fn selector_labels(chat: &Validated, part: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "chatcluster"),
        ("app.kubernetes.io/instance", &chat.name),
        ("app.kubernetes.io/component", part),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

pub fn selector(chat: &Validated, part: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(selector_labels(chat, part)),
        match_expressions: None,
    }
}

/// The labels of every child.
pub fn labels(chat: &Validated, part: &str) -> BTreeMap<String, String> {
    let mut labels = selector_labels(chat, part);
    labels.insert(
        "app.kubernetes.io/managed-by".into(),
        "chat-operator".into(),
    );
    labels
}

/// `<chat>-<name>`, which goes with its ChatCluster.
pub fn object(chat: &Validated, part: &str, suffix: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name(chat, &format!("{part}{suffix}"))),
        namespace: Some(chat.namespace.clone()),
        labels: Some(labels(chat, part)),
        owner_references: Some(vec![chat.owner.clone()]),
        ..ObjectMeta::default()
    }
}

/// The same for data: it goes with its ChatCluster only where that was asked for.
pub fn data(chat: &Validated, part: &str, suffix: &str) -> ObjectMeta {
    let mut meta = object(chat, part, suffix);
    if !chat.delete_data {
        meta.owner_references = None;
        let owner = (OWNER_UID.to_owned(), chat.owner.uid.clone());
        meta.annotations = Some([owner].into());
    }
    meta
}

/// A short name of a content, for [`CONTENT`].
pub fn hash(content: &impl Serialize) -> String {
    // Only maps whose keys are no strings could fail, and there are none.
    let bytes = serde_json::to_vec(content).unwrap_or_default();
    hex(&digest(&SHA256, &bytes).as_ref()[..8])
}

/// The name of a Job, which another content gives another one: its template cannot be
/// changed.
pub fn job(chat: &Validated, what: &str, content: &impl Serialize) -> String {
    /// As long as such a name may be.
    const LENGTH: usize = 63;
    let hash = hash(&(&chat.name, content));
    let end = format!("-{what}-{}", &hash[..8]);
    let begin = chat.name.len().min(LENGTH - end.len());
    format!("{}{end}", &chat.name[..begin])
}

pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
