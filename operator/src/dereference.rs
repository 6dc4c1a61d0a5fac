//! The first step: what the cluster says about everything that a ChatCluster
//! refers to. Uses the client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::apply::Error;
use crate::children::{ChatRef, Child, Key};
use crate::controller::Context;
use crate::controller::secrets::Content;
use crate::crd::{ChatCluster, MigrationResult};
use crate::credentials::{self, Credentials, Data, ROTATE, Wish, new_secret};
use crate::facts::{Delegated, Facts};

/// A user's Secret of this name is used when the spec names none.
const IMPLIED_JWT: &str = "jwt-secret";

pub async fn dereference(
    context: &Context,
    key: &ChatRef,
    chat: &ChatCluster,
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
    let children = context.children.of(key);
    Ok(Facts {
        credentials: credentials(context, key, chat, &children, &own, &secrets).await?,
        apis: context.apis(),
        migrations: migrations(&children),
        delegated: delegated(key, &children),
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
    let jwt = read_own(context, key, children, jwt).await?;
    let named = chat.spec.security.jwt.secret_ref.as_ref();
    let given = secrets
        .get(named.map_or(IMPLIED_JWT, |it| it.name.as_str()))
        .and_then(|data| data.get(credentials::JWT_KEY))
        .and_then(|key| std::str::from_utf8(key).ok())
        .map(|key| key.trim_end_matches(['\r', '\n']))
        .filter(|key| !key.is_empty());
    let random = |error: anyhow::Error| Error::Random(error.to_string());
    let credentials = Credentials::read_or_make(
        own.as_ref().map(|it| &it.data),
        jwt.as_ref().map(|it| (&it.data, &it.annotations)),
        given,
    )
    .map_err(random)?;
    let fresh = new_secret().map_err(random)?;
    let annotations = chat.metadata.annotations.as_ref();
    let wish = match given {
        Some(key) => Wish::Given(key),
        None => Wish::Generated {
            request: annotations
                .and_then(|all| all.get(ROTATE))
                .map(String::as_str),
            fresh: &fresh,
        },
    };
    let in_use = context.keys_are_in_use(key, &credentials);
    Ok(credentials.rotated(wish, in_use, Timestamp::now()))
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
            let said = self::condition(&child.status, condition);
            let text = |field: &str| said.and_then(|it| it.get(field)).and_then(Value::as_str);
            let delegated = Delegated {
                ready: text("status") == Some("True"),
                message: text("message")
                    .filter(|message| !message.is_empty())
                    .map_or_else(
                        || format!("{kind} has not said {condition} yet"),
                        str::to_owned,
                    ),
                ..Delegated::default()
            };
            Some((store, delegated))
        })
        .collect()
}

/// A condition of a watched status.
pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = status.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|it| it.get("type").and_then(Value::as_str) == Some(kind))
}

pub fn is_true(status: &Value, kind: &str) -> bool {
    condition(status, kind)
        .is_some_and(|it| it.get("status").and_then(Value::as_str) == Some("True"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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

    #[test]
    fn a_condition_holds_when_it_is_true() {
        let status = json!({"status": {"conditions": [
            {"type": "Complete", "status": "True"}, {"type": "Failed", "status": "False"},
        ]}});
        assert!(is_true(&status, "Complete"));
        assert!(!is_true(&status, "Failed"));
        assert!(!is_true(&json!({}), "Failed"));
    }
}
