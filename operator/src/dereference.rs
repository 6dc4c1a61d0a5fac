//! The first step: what the cluster says about everything that a ChatCluster
//! refers to. Uses the client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chat_events::Service;
use jiff::Timestamp;
use serde_json::Value;

use crate::apply::Error;
use crate::chat::ChatRef;
use crate::children::state::{self, is_true};
use crate::children::{Child, Key, Owner};
use crate::context::Context;
use crate::context::secrets::Content;
use crate::crd::{ChatCluster, MigrationResult};
use crate::credentials::{self, Credentials, Data, ROTATE, ROTATE_PASSWORDS, Wish, new_secret};
use crate::facts::{Delegated, Facts};

/// A user's Secret of this name is used when the spec names none.
const IMPLIED_JWT: &str = "jwt-secret";

pub async fn dereference(
    context: &Context,
    key: &ChatRef,
    chat: &ChatCluster,
    children: &BTreeMap<Key, Child>,
) -> Result<Facts, Error> {
    let own = [
        format!("{}-credentials", key.name),
        format!("{}-jwt", key.name),
    ];
    let theirs = references(chat);
    let all = theirs.iter().chain(&own).cloned().collect();
    context.secrets.refer(key, &all);

    let mut secrets = BTreeMap::new();
    for name in theirs {
        let read = context
            .secrets
            .read(&context.client, &key.namespace, &name)
            .await?;
        if let Some(content) = read {
            secrets.insert(name, content.data.clone());
        }
    }
    Ok(Facts {
        credentials: credentials(context, key, chat, children, &own, &secrets).await?,
        apis: context.apis(),
        migrations: migrations(children),
        delegated: delegated(key, children),
        secrets,
    })
}

/// The Secrets of users that a spec names or implies.
fn references(chat: &ChatCluster) -> BTreeSet<String> {
    let spec = &chat.spec;
    let mut names: BTreeSet<String> = [IMPLIED_JWT.to_owned()].into();
    names.extend(
        spec.security
            .jwt
            .secret_ref
            .iter()
            .map(|it| it.name.clone()),
    );
    names.extend(spec.exposure.tls.secret_name.clone());
    if let Some(external) = &spec.postgres.external {
        names.insert(external.secret_ref.name.clone());
        names.extend(external.per_service.values().map(|it| it.name.clone()));
    }
    let stores = [&spec.rabbitmq.external, &spec.redis.external];
    names.extend(
        stores
            .into_iter()
            .flatten()
            .map(|it| it.secret_ref.name.clone()),
    );
    names.remove("");
    names
}

/// Ours, from our Secrets, or new; at most one step further to a new key of tokens.
async fn credentials(
    context: &Context,
    key: &ChatRef,
    chat: &ChatCluster,
    children: &BTreeMap<Key, Child>,
    [own, jwt]: &[String; 2],
    secrets: &BTreeMap<String, Data>,
) -> Result<Credentials, Error> {
    let own = read_own(context, key, children, own).await?;
    let mounted = match &own {
        Some(_) => BTreeMap::new(),
        None => mounted(context, key, chat, children).await?,
    };
    let jwt = read_own(context, key, children, jwt).await?;
    let named = chat.spec.security.jwt.secret_ref.as_ref();
    let given = secrets
        .get(named.map_or(IMPLIED_JWT, |it| it.name.as_str()))
        .and_then(|data| data.get(credentials::JWT_KEY))
        .and_then(|key| std::str::from_utf8(key).ok())
        .map(|key| key.trim_end_matches(['\r', '\n']))
        .filter(|key| !key.is_empty());
    let annotations = chat.metadata.annotations.as_ref();
    let request = |name| {
        annotations
            .and_then(|all| all.get(name))
            .map(String::as_str)
    };
    // Of a store that is not ours, there is no password to change.
    let passwords = request(ROTATE_PASSWORDS).filter(|_| chat.spec.has_managed_store());
    let random = |error: anyhow::Error| Error::Random(error.to_string());
    let credentials = Credentials::read_or_make(
        own.as_ref().map(|it| (&it.data, &it.annotations)),
        jwt.as_ref().map(|it| (&it.data, &it.annotations)),
        given,
        &mounted,
        passwords,
    )
    .map_err(random)?;
    let fresh = new_secret().map_err(random)?;
    let wish = match given {
        Some(key) => Wish::Given(key),
        None => Wish::Generated {
            request: request(ROTATE),
            fresh: &fresh,
        },
    };
    let in_use = context.keys_are_in_use(key, &credentials);
    let seen = context.proofs.seen(key, &credentials);
    let credentials = credentials.rotated(wish, in_use, Timestamp::now());
    if chat.spec.stopped {
        return Ok(credentials);
    }
    credentials
        .with_new_passwords(passwords, seen, Timestamp::now())
        .map_err(random)
}

/// What pods of this ChatCluster mount of what `<chat>-credentials` held, by part.
async fn mounted(
    context: &Context,
    key: &ChatRef,
    chat: &ChatCluster,
    children: &BTreeMap<Key, Child>,
) -> Result<BTreeMap<&'static str, Data>, Error> {
    let parts = ["postgres", "rabbitmq", "redis"];
    let mut all = BTreeMap::new();
    for part in Service::ALL.map(Service::name).into_iter().chain(parts) {
        let name = format!("{}-{part}", key.name);
        let child = children.get(&("Secret", name.clone()));
        let ours = chat.metadata.uid.clone().map(Owner::Chat);
        if child.is_none_or(|child| child.deleting || Some(&child.owner) != ours.as_ref()) {
            continue;
        }
        let (client, namespace) = (&context.client, &key.namespace);
        if let Some(content) = context.secrets.read(client, namespace, &name).await? {
            all.insert(part, content.data.clone());
        }
    }
    Ok(all)
}

/// What is not there may be made by this very pass: the next one must look again. And
/// what we have written ourselves is newer than what was read before it.
async fn read_own(
    context: &Context,
    key: &ChatRef,
    children: &BTreeMap<Key, Child>,
    name: &str,
) -> Result<Option<Arc<Content>>, Error> {
    match children.get(&("Secret", name.to_owned())) {
        Some(child) => context.secrets.expect(&key.namespace, name, child.version),
        // It may have been deleted, and the other watch has not told yet: what was read
        // before must not come back.
        None => context.secrets.distrust(&key.namespace, name),
    }
    let read = context
        .secrets
        .read(&context.client, &key.namespace, name)
        .await?;
    if read.is_none() {
        context.secrets.distrust(&key.namespace, name);
    }
    Ok(read)
}

fn migrations(children: &BTreeMap<Key, Child>) -> BTreeMap<String, MigrationResult> {
    let jobs = children
        .iter()
        .filter(|((kind, _), child)| *kind == "Job" && !child.deleting);
    jobs.filter_map(|((_, name), child)| {
        let result = if is_true(&child.status, "Complete") {
            MigrationResult::Succeeded
        } else if is_true(&child.status, "Failed") {
            MigrationResult::Failed
        } else {
            return None;
        };
        Some((name.clone(), result))
    })
    .collect()
}

fn delegated(key: &ChatRef, children: &BTreeMap<Key, Child>) -> BTreeMap<&'static str, Delegated> {
    let kinds = [
        ("postgres", "Cluster", "Ready"),
        ("rabbitmq", "RabbitmqCluster", "AllReplicasReady"),
    ];
    kinds
        .into_iter()
        .filter_map(|(store, kind, condition)| {
            let child = children.get(&(kind, format!("{}-{store}", key.name)))?;
            let said = state::condition(&child.status, condition);
            let text = |field: &str| said.and_then(|it| it.get(field)).and_then(Value::as_str);
            let unwell = (text("status") != Some("True")).then(|| {
                text("message")
                    .filter(|message| !message.is_empty())
                    .map_or_else(
                        || format!("{kind} has not said {condition} yet"),
                        str::to_owned,
                    )
            });
            let missing = unwell.or_else(|| match store {
                "postgres" => missing_database(children),
                _ => None,
            });
            let delegated = Delegated {
                ready: missing.is_none(),
                message: missing.unwrap_or_default(),
                ..Delegated::default()
            };
            Some((store, delegated))
        })
        .collect()
}

/// What CloudNativePG says of the first database that is not there yet.
fn missing_database(children: &BTreeMap<Key, Child>) -> Option<String> {
    let mut databases = children.iter().filter(|((kind, _), _)| *kind == "Database");
    databases.find_map(|((_, name), child)| {
        let applied = child.status.pointer("/status/applied");
        if applied.and_then(Value::as_bool) == Some(true) {
            return None;
        }
        let said = child.status.pointer("/status/message");
        let said = said.and_then(Value::as_str).unwrap_or("not made yet");
        Some(format!("Database {name}: {said}"))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use kube::core::DynamicObject;
    use serde_json::json;

    use super::*;
    use crate::children::Children;
    use crate::context::testing::context;
    use crate::kinds;

    fn demo() -> ChatRef {
        ChatRef {
            namespace: "n".into(),
            name: "demo".into(),
        }
    }

    /// What is known when the watches have told of these objects, by kind and name.
    fn known(objects: &[(&str, &str, Value)]) -> BTreeMap<Key, Child> {
        let children = Children::default();
        for (kind, name, status) in objects {
            let object: DynamicObject = serde_json::from_value(json!({
                "metadata": {
                    "name": name, "namespace": "n", "uid": name, "resourceVersion": "5",
                    "labels": {
                        "app.kubernetes.io/managed-by": "chat-operator",
                        "app.kubernetes.io/instance": "demo",
                    },
                },
                "status": status,
            }))
            .unwrap_or_else(|error| panic!("{error}"));
            children.see(kinds::by_name(kind).unwrap_or_else(|| panic!()), &object);
        }
        children.of(&demo())
    }

    /// One watch has told that it is gone, and the other has not yet.
    #[tokio::test]
    async fn a_secret_of_ours_that_is_gone_is_not_read_from_memory() {
        static GONE: AtomicBool = AtomicBool::new(false);
        let context = context(|| {
            let metadata = json!({"name": "demo-jwt", "resourceVersion": "5"});
            let there = json!({"metadata": metadata, "data": {"JWT_KEY": "b2xk"}});
            let gone = json!({"status": "Failure", "reason": "NotFound", "code": 404});
            if GONE.load(Ordering::SeqCst) {
                (404, gone)
            } else {
                (200, there)
            }
        });
        let name = "demo-jwt".to_owned();
        context.secrets.refer(&demo(), &[name.clone()].into());
        let read = async |children| {
            let read = read_own(&context, &demo(), &children, &name).await;
            read.unwrap_or_else(|error| panic!("{error}")).is_some()
        };
        assert!(read(known(&[("Secret", "demo-jwt", Value::Null)])).await);
        GONE.store(true, Ordering::SeqCst);
        assert!(!read(BTreeMap::new()).await);
    }

    #[test]
    fn postgres_is_ready_when_its_cluster_and_every_database_are() {
        let up = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let told = |cluster: &Value, database: Value| {
            let children = known(&[
                ("Cluster", "demo-postgres", cluster.clone()),
                ("Database", "demo-postgres-auth", json!({"applied": true})),
                ("Database", "demo-postgres-users", database),
            ]);
            let all = delegated(&demo(), &children);
            let postgres = all.get("postgres").cloned().unwrap_or_default();
            (postgres.ready, postgres.message)
        };
        let made = json!({"applied": true});
        assert_eq!(told(&up, made.clone()), (true, String::new()));
        let waits = "Database demo-postgres-users: not made yet";
        assert_eq!(told(&up, json!({})), (false, waits.to_owned()));
        let refused = json!({"applied": false, "message": "no such role"});
        let why = "Database demo-postgres-users: no such role";
        assert_eq!(told(&up, refused), (false, why.to_owned()));
        let down = json!({"conditions": [
            {"type": "Ready", "status": "False", "message": "0 of 3 instances"},
        ]});
        assert_eq!(told(&down, made), (false, "0 of 3 instances".to_owned()));
    }

    fn chat(spec: Value) -> ChatCluster {
        let spec = serde_json::from_value(spec).unwrap_or_else(|error| panic!("{error}"));
        ChatCluster::new("demo", spec)
    }

    #[test]
    fn every_secret_that_a_spec_names_is_read() {
        let names = references(&chat(json!({
            "host": "h",
            "exposure": {"tls": {"mode": "Secret", "secretName": "tls"}},
            "postgres": {"mode": "External", "external": {
                "secretRef": {"name": "pg"}, "perService": {"auth": {"name": "pg-auth"}},
            }},
            "rabbitmq": {"mode": "External", "external": {"secretRef": {"name": "rmq"}}},
            "redis": {"mode": "External", "external": {"secretRef": {"name": "redis"}}},
            "security": {"jwt": {"secretRef": {"name": "key"}}},
        })));
        let expected = ["jwt-secret", "key", "pg", "pg-auth", "redis", "rmq", "tls"];
        assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_plain_spec_implies_the_secret_of_the_key() {
        let names = references(&chat(json!({"host": "h"})));
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["jwt-secret"]);
    }
}
