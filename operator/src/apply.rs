//! The fourth step: makes the cluster hold what was built. Uses the client.
//!
//! Every object is applied by the server, under one field manager, and only when
//! the watches do not already say that it holds just this.

mod plan;
mod send;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use kube::Client;
use kube::api::DynamicObject;

use crate::chat::Chat;
use crate::children::{Child, Children, Key};
use crate::kinds::{self, Kind};
use crate::resources::Resources;
use plan::{Desired, Step};
pub use send::{Error, TakenBack, call};

/// Writes on their way at the same time, for one ChatCluster.
const AT_ONCE: usize = 8;

/// What the step came to.
#[derive(Debug, Default)]
pub struct Applied {
    /// Objects of other people that have a name which we need.
    pub conflicts: Vec<String>,
    /// Objects that must go before ours can come.
    pub waits: Vec<String>,
    /// Deployments that get other pods when earlier ones have theirs.
    pub queued: Vec<String>,
    /// The next of them may be told so when this pass has ended.
    pub look_again: bool,
    /// The objects that belong to the ChatCluster now, by kind and name.
    pub wanted: BTreeSet<Key>,
    /// The Secrets among them that were written, as the server answered.
    pub secrets: Vec<Box<DynamicObject>>,
}

/// Applies all objects, one kind after the other, and removes those that a
/// former pass made and this one does not want. `known` is what the pass began
/// with: of an object that went since, nothing is made anew from what was read of it.
/// What somebody had set, and is as it should be again, is in `taken_back` also when
/// the pass does not come to its end.
pub async fn apply(
    client: &Client,
    children: &Children,
    chat: &Chat,
    known: &BTreeMap<Key, Child>,
    resources: Resources,
    taken_back: &mut Vec<TakenBack>,
) -> Result<Applied, Error> {
    let (groups, mut held) = plan::in_order(resources)?;
    let mut applied = Applied::default();
    for mut group in groups {
        let turns = plan::take_turns(&mut group, known, &chat.uid);
        applied.look_again |= turns.look_again;
        applied.queued.extend(turns.waiting);
        let calls: Vec<_> = group
            .iter()
            .map(|desired| one(client, children, chat, known, desired))
            .collect();
        let outcomes: Vec<_> = futures::stream::iter(calls)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let mut failure = None;
        for outcome in outcomes {
            match outcome {
                Ok(Outcome::Holds(theirs, secret)) => {
                    taken_back.extend(theirs);
                    applied.secrets.extend(secret);
                }
                Ok(Outcome::Conflict(object)) => applied.conflicts.push(object),
                Ok(Outcome::Waits(object)) => applied.waits.push(object),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        let is_source = group.iter().any(plan::is_source);
        applied
            .wanted
            .extend(group.into_iter().map(|it| (it.kind.name, it.name)));
        // What was invented for them is kept nowhere: the next pass invents it anew.
        if is_source && !(applied.conflicts.is_empty() && applied.waits.is_empty()) {
            return Ok(applied);
        }
    }
    applied.conflicts.sort();
    held.extend(applied.queued.iter().cloned());
    remove_orphans(client, chat, known, &applied.wanted, &held).await?;
    Ok(applied)
}

/// What became of one object.
enum Outcome {
    Holds(Option<TakenBack>, Option<Box<DynamicObject>>),
    Conflict(String),
    Waits(String),
}

async fn one(
    client: &Client,
    children: &Children,
    chat: &Chat,
    known: &BTreeMap<Key, Child>,
    desired: &Desired,
) -> Result<Outcome, Error> {
    let child = known.get(&(desired.kind.name, desired.name.clone()));
    let object = || format!("{} {}", desired.kind.name, desired.name);
    let sent = match plan::step(desired, child, &chat.uid) {
        Step::Keep => return Ok(Outcome::Holds(None, None)),
        Step::Wait(uid) => {
            if !send::is_gone(client, chat, desired, &uid).await? {
                return Ok(Outcome::Waits(object()));
            }
            // The answer to a write of ours may have come after the watch told of its end.
            let key = (desired.kind.name, desired.name.clone());
            children.forget_one(&chat.key, &key, &uid);
            send::create(client, chat, desired).await?
        }
        Step::Refuse => return Ok(Outcome::Conflict(object())),
        Step::Create => send::create(client, chat, desired).await?,
        Step::Change(uid) => match send::change(client, chat, desired, &uid).await {
            Err(error) if desired.kind.name == "StatefulSet" && error.is_invalid() => {
                volumes::grow(client, chat, desired, error).await?;
                return Ok(Outcome::Waits(object()));
            }
            sent => sent?,
        },
    };
    Ok(match sent {
        send::Sent::Holds(live, taken_back) => {
            children.verify(desired.kind, &live, desired.digest);
            let secret = (desired.kind.name == "Secret").then_some(live);
            Outcome::Holds(taken_back, secret)
        }
        send::Sent::Foreign => Outcome::Conflict(object()),
        send::Sent::Former => Outcome::Waits(object()),
    })
}

async fn remove_orphans(
    client: &Client,
    chat: &Chat,
    known: &BTreeMap<Key, Child>,
    wanted: &BTreeSet<Key>,
    held: &[String],
) -> Result<(), Error> {
    let orphans: Vec<(&Kind, &str, &str)> = plan::orphans(known, wanted, held, &chat.uid)
        .filter_map(|((kind, name), child)| {
            Some((kinds::by_name(kind)?, name.as_str(), child.uid.as_str()))
        })
        .collect();
    for (kind, name, uid) in orphans {
        tracing::info!(chat = %chat.key, kind = kind.name, name, "removed: it is not wanted any more");
        send::delete(client, chat, kind, name, uid).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Service};
    use kube::api::ObjectMeta;
    use serde_json::{Value, json};

    use super::*;
    use crate::chat::ChatRef;
    use crate::context::testing;

    fn metadata() -> Value {
        let controller = json!({
            "apiVersion": "chatcluster.io/v1alpha1", "kind": "ChatCluster",
            "name": "demo", "uid": "chat", "controller": true,
        });
        json!({
            "name": "demo-web", "namespace": "n", "uid": "child", "resourceVersion": "5",
            "labels": {
                "app.kubernetes.io/managed-by": "chat-operator",
                "app.kubernetes.io/instance": "demo",
            },
            "ownerReferences": [controller],
        })
    }

    /// Of the two objects of one name, the ConfigMap has a field that somebody else has
    /// set, and nobody may write the Service.
    fn answer(path: &str, query: &str) -> (u16, Value) {
        let refusal = |code: u16, reason: &str, cause: &str| {
            let cause = json!({"reason": cause, "field": ".data.key", "message": "by kubectl"});
            let details = json!({"causes": [cause]});
            let status = json!({"status": "Failure", "message": "", "reason": reason, "code": code, "details": details});
            (code, status)
        };
        if path.contains("/services/") {
            return refusal(403, "Forbidden", "");
        }
        if query.contains("force=true") {
            return (200, json!({"metadata": metadata()}));
        }
        refusal(409, "Conflict", "FieldManagerConflict")
    }

    /// The last answer about a deleted object may come after the watch told of its end.
    #[tokio::test]
    async fn what_went_unnoticed_is_not_waited_for() {
        let client = testing::client(|request| match request.method().as_str() {
            "GET" => (
                404,
                json!({"status": "Failure", "message": "", "reason": "NotFound", "code": 404}),
            ),
            _ => (201, json!({"metadata": metadata()})),
        });
        let key = ChatRef {
            namespace: "n".into(),
            name: "demo".into(),
        };
        let children = Children::default();
        let mut former = metadata();
        former["uid"] = "gone".into();
        former["ownerReferences"][0]["uid"] = "former".into();
        let former = serde_json::from_value(json!({"metadata": former}));
        let kind = kinds::by_name("ConfigMap").expect("a kind");
        children.see(kind, &former.expect("an object"));
        let resources = Resources {
            config_maps: vec![ConfigMap {
                metadata: ObjectMeta {
                    name: Some("demo-web".into()),
                    ..ObjectMeta::default()
                },
                ..ConfigMap::default()
            }],
            ..Resources::default()
        };
        let known = children.of(&key);
        let chat = Chat {
            key: key.clone(),
            uid: "chat".into(),
        };
        let applied = apply(
            &client,
            &children,
            &chat,
            &known,
            resources,
            &mut Vec::new(),
        )
        .await;
        assert_eq!(applied.expect("all is applied").waits, [""; 0]);
        let uids: Vec<_> = children.of(&key).into_values().map(|it| it.uid).collect();
        assert_eq!(uids, ["child"]);
    }

    #[tokio::test]
    async fn what_was_taken_back_is_told_when_a_later_call_fails() {
        let client = testing::client(|request| {
            answer(request.uri().path(), request.uri().query().unwrap_or(""))
        });
        let key = ChatRef {
            namespace: "n".into(),
            name: "demo".into(),
        };
        let children = Children::default();
        for kind in ["ConfigMap", "Service"] {
            let object = serde_json::from_value(json!({"metadata": metadata()}));
            let kind = kinds::by_name(kind).expect("a kind");
            children.see(kind, &object.expect("an object"));
        }
        let named = || ObjectMeta {
            name: Some("demo-web".into()),
            ..ObjectMeta::default()
        };
        let resources = Resources {
            config_maps: vec![ConfigMap {
                metadata: named(),
                ..ConfigMap::default()
            }],
            services: vec![Service {
                metadata: named(),
                ..Service::default()
            }],
            ..Resources::default()
        };
        let known = children.of(&key);
        let chat = Chat {
            key,
            uid: "chat".into(),
        };
        let mut taken_back = Vec::new();
        let applied = apply(
            &client,
            &children,
            &chat,
            &known,
            resources,
            &mut taken_back,
        )
        .await;
        let error = applied.expect_err("nobody may write the Service");
        assert!(error.to_string().contains("Service demo-web"), "{error}");
        let told: Vec<_> = taken_back.into_iter().map(|it| it.what).collect();
        assert_eq!(told, [".data.key (by kubectl)"]);
    }
}
