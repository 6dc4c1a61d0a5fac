//! What a pass saw, put together. Pure.

use std::collections::BTreeMap;

use chat_events::Service;
use serde_json::Value;

use super::{Component, Exposure, Migration, Observation, Problem, Progress};
use crate::apply::{self, Applied};
use crate::build::{login_check, meta, migration};
use crate::children::state::{condition, is_rolled_out, is_true, number, pods};
use crate::children::{Child, Key};
use crate::crd::{BackingStoreStatus, ChatCluster, ComponentStatus, MigrationResult};
use crate::credentials::PasswordStage;
use crate::facts::Facts;
use crate::validate::{
    self, Invalid, Managed, Part, Postgres, Rabbitmq, Redis, Tls, Validated, Workload,
};

/// All that is known at the end of a pass.
pub struct Pass<'a> {
    pub chat: &'a ChatCluster,
    pub facts: &'a Facts,
    pub validated: Result<&'a Validated, &'a Invalid>,
    /// `None` when nothing was applied: the spec is invalid, or paused.
    pub applied: Option<&'a Result<Applied, apply::Error>>,
    pub children: &'a BTreeMap<Key, Child>,
}

pub fn observe(pass: &Pass<'_>) -> Observation {
    let spec = &pass.chat.spec;
    let basis = Observation {
        paused: spec.paused,
        stopped: spec.stopped,
        ..Observation::default()
    };
    let validated = match pass.validated {
        Ok(validated) => validated,
        Err(invalid) => {
            return Observation {
                problem: Some(Problem {
                    reason: invalid.reason.to_owned(),
                    message: invalid.message.clone(),
                }),
                ..basis
            };
        }
    };
    let (problem, hindrance) = pass.applied.map_or((None, None), judge_applied);
    let waits = match pass.applied {
        Some(Ok(applied)) => applied.waits.clone(),
        _ => Vec::new(),
    };
    Observation {
        problem,
        hindrance,
        waits,
        running: pass.children.values().map(pods).sum(),
        components: Part::ALL
            .into_iter()
            .filter_map(|part| {
                Some(component(
                    pass,
                    validated,
                    part,
                    validated.parts.get(&part)?,
                ))
            })
            .collect(),
        stores: stores(pass, validated),
        migrations: migrations(pass, validated),
        passwords: passwords(validated),
        failed_trial: failed_trial(pass, validated),
        exposure: exposure(pass, validated),
        version: validated.version.clone(),
        socket_handler_selector: meta::selector_labels(validated, Service::SocketHandler.name())
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(","),
        ..basis
    }
}

/// What is to be said when not even the references could be read; nothing when it is
/// likely that they can be in a moment.
pub fn unreadable(chat: &ChatCluster, error: &apply::Error) -> Option<Observation> {
    Some(Observation {
        paused: chat.spec.paused,
        stopped: chat.spec.stopped,
        problem: Some(lasting(error)?),
        ..Observation::default()
    })
}

/// What stops us for good, and what does for the moment.
fn judge_applied(applied: &Result<Applied, apply::Error>) -> (Option<Problem>, Option<Problem>) {
    match applied {
        Ok(applied) if applied.conflicts.is_empty() => (None, None),
        Ok(applied) => {
            let objects = applied.conflicts.join(", ");
            let message = format!("not made by this ChatCluster, and so left alone: {objects}");
            (problem("Conflict", message), None)
        }
        Err(error) => match lasting(error) {
            Some(lasting) => (Some(lasting), None),
            None => (None, problem("Retrying", error.to_string())),
        },
    }
}

/// An error that stays until somebody does something.
fn lasting(error: &apply::Error) -> Option<Problem> {
    if let apply::Error::Volumes { .. } = error {
        return problem("VolumesCannotGrow", error.to_string());
    }
    match error.status()? {
        status if status.is_forbidden() => problem("Forbidden", error.to_string()),
        status if matches!(status.code, 400 | 422) => problem("Refused", error.to_string()),
        _ => None,
    }
}

/// `Some`, as that is what all of its callers want.
#[expect(clippy::unnecessary_wraps, reason = "all callers return an Option")]
fn problem(reason: &str, message: String) -> Option<Problem> {
    Some(Problem {
        reason: reason.to_owned(),
        message,
    })
}

fn component(pass: &Pass<'_>, chat: &Validated, part: Part, workload: &Workload) -> Component {
    let name = meta::name(chat, part.name());
    let key = ("Deployment", name.clone());
    let child = pass.children.get(&key);
    let count = |field: &str| child.map_or(0, |child| number(&child.status, field));
    // An autoscaler's choice stands in the Deployment.
    let desired = workload
        .replicas
        .unwrap_or_else(|| count("replicas").max(workload.autoscaling.min));
    // A Deployment that waits for its migration is still the one before.
    let applied = match pass.applied {
        Some(Ok(applied)) => applied.wanted.contains(&key),
        _ => true,
    };
    Component {
        status: ComponentStatus {
            name: part.name().to_owned(),
            desired,
            ready: count("availableReplicas"),
            updated: count("updatedReplicas"),
            image: workload.image.clone(),
        },
        old: count("replicas") - count("updatedReplicas"),
        queued: matches!(pass.applied, Some(Ok(it)) if it.queued.contains(&name)),
        settled: applied
            && count("availableReplicas") >= desired
            && child.is_some_and(is_rolled_out),
        failure: child.and_then(|child| failure(&name, &workload.image, child)),
    }
}

/// What the cluster says against the pods of a Deployment.
fn failure(name: &str, image: &str, child: &Child) -> Option<Problem> {
    let message = |condition: Option<&Value>| {
        let message = condition
            .and_then(|it| it.get("message"))
            .and_then(Value::as_str);
        message.unwrap_or("no reason given").to_owned()
    };
    if is_true(&child.status, "ReplicaFailure") {
        let why = message(condition(&child.status, "ReplicaFailure"));
        return Some(Problem {
            reason: "PodsRefused".into(),
            message: format!("Deployment {name}: the cluster refuses its pods: {why}"),
        });
    }
    let progressing = condition(&child.status, "Progressing")?;
    let reason = progressing.get("reason").and_then(Value::as_str);
    (reason == Some("ProgressDeadlineExceeded")).then(|| Problem {
        reason: "RolloutStuck".into(),
        message: format!(
            "Deployment {name}: its pods with {image} do not get ready: {}",
            message(Some(progressing))
        ),
    })
}

fn stores(pass: &Pass<'_>, chat: &Validated) -> Vec<BackingStoreStatus> {
    let managed = |store: &str, managed: &Managed| {
        let child = pass.children.get(&("StatefulSet", meta::name(chat, store)));
        let ready = child.map_or(0, |child| number(&child.status, "readyReplicas"));
        let wanted = managed.replicas;
        BackingStoreStatus {
            name: store.to_owned(),
            mode: "Managed".into(),
            ready: ready >= wanted,
            message: if ready >= wanted {
                String::new()
            } else {
                format!("{ready} of {wanted} pods answer")
            },
        }
    };
    let delegated = |store: &str, ready: bool| BackingStoreStatus {
        name: store.to_owned(),
        mode: "Delegated".into(),
        ready,
        message: match pass.facts.delegated.get(store) {
            _ if ready => String::new(),
            Some(said) => said.message.clone(),
            None => "not made yet".into(),
        },
    };
    let external = |store: &str| BackingStoreStatus {
        name: store.to_owned(),
        mode: "External".into(),
        ready: true,
        message: String::new(),
    };
    vec![
        match &chat.postgres {
            Postgres::Managed(it) => managed("postgres", it),
            Postgres::Delegated { ready, .. } => delegated("postgres", *ready),
            Postgres::External(_) => external("postgres"),
        },
        match &chat.rabbitmq {
            Rabbitmq::Managed(it) => managed("rabbitmq", it),
            Rabbitmq::Delegated { ready, .. } => delegated("rabbitmq", *ready),
            Rabbitmq::External(_) => external("rabbitmq"),
        },
        match &chat.redis {
            Redis::Managed(it) => managed("redis", it),
            Redis::External(_) => external("redis"),
        },
    ]
}

fn migrations(pass: &Pass<'_>, chat: &Validated) -> Vec<Migration> {
    let services = Service::ALL
        .into_iter()
        .filter(|service| service.has_database());
    services
        .map(|service| {
            let job = migration::name(chat, service);
            let state = match pass.facts.migrations.get(&job) {
                Some(MigrationResult::Succeeded) => Progress::Succeeded,
                Some(MigrationResult::Failed) => {
                    Progress::Failed(format!("see the log of Job {job}"))
                }
                None => Progress::Waiting,
            };
            let workload = chat.parts.get(&Part::Service(service));
            Migration {
                service: service.name(),
                image: workload.map(|it| it.image.clone()).unwrap_or_default(),
                state,
            }
        })
        .collect()
}

fn passwords(chat: &Validated) -> Option<&'static str> {
    Some(match chat.credentials.passwords.stage {
        PasswordStage::Settled => return None,
        PasswordStage::Announced => "announced, until every store accepts them",
        PasswordStage::Swapped => "swapped, until every pod uses them",
        PasswordStage::Retiring(_) => "retiring, until pods with old ones have ended",
        PasswordStage::Withdrawn => "withdrawn, until every store refuses old ones",
    })
}

fn failed_trial(pass: &Pass<'_>, chat: &Validated) -> Option<String> {
    let names = login_check::names(chat).into_iter();
    names.filter(|_| login_check::is_due(chat)).find(|name| {
        let job = pass.children.get(&("Job", name.clone()));
        job.is_some_and(|job| is_true(&job.status, "Failed"))
    })
}

fn exposure(pass: &Pass<'_>, chat: &Validated) -> Exposure {
    let first = |kind: &'static str| pass.children.iter().find(|((it, _), _)| *it == kind);
    let (by, tls) = match &chat.exposure {
        validate::Exposure::None => (None, None),
        validate::Exposure::Ingress { tls, .. } => (Some("Ingress"), Some(tls)),
        validate::Exposure::Gateway { tls, .. } => (Some("HTTPRoute"), Some(tls)),
    };
    let missing = by.and_then(|kind| {
        let Some(((_, name), route)) = first(kind) else {
            return problem("NotExposed", format!("there is no {kind} yet"));
        };
        if matches!(tls, Some(Tls::CertManager { .. })) {
            let certificate = first("Certificate");
            if !certificate.is_some_and(|(_, it)| is_true(&it.status, "Ready")) {
                let why = certificate
                    .and_then(|(_, it)| condition(&it.status, "Ready")?.get("message")?.as_str())
                    .unwrap_or("cert-manager has not answered yet");
                return problem(
                    "CertificateNotReady",
                    format!("the Certificate for {}: {why}", chat.host),
                );
            }
        }
        (kind == "HTTPRoute")
            .then(|| not_accepted(&route.status))
            .flatten()
            .and_then(|why| problem("RouteNotAccepted", format!("HTTPRoute {name}: {why}")))
    });
    Exposure {
        url: chat.origin.clone(),
        by,
        missing,
    }
}

/// Why a Gateway does not take a route.
fn not_accepted(status: &Value) -> Option<String> {
    let parents = status.pointer("/status/parents").and_then(Value::as_array);
    let Some(parents) = parents.filter(|parents| !parents.is_empty()) else {
        return Some("no Gateway has answered yet".into());
    };
    parents.iter().find_map(|parent| {
        let status = serde_json::json!({"status": parent});
        (!is_true(&status, "Accepted")).then(|| {
            let said = condition(&status, "Accepted").and_then(|it| it.get("message")?.as_str());
            said.unwrap_or("a Gateway has not accepted it").to_owned()
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_is_accepted_when_every_gateway_says_so() {
        let parents = |conditions: Value| json!({"status": {"parents": conditions}});
        let accepted = json!({"conditions": [{"type": "Accepted", "status": "True"}]});
        let refused = json!({"conditions": [{"type": "Accepted", "status": "False", "message": "no listener"}]});
        assert_eq!(not_accepted(&parents(json!([accepted]))), None);
        let why = not_accepted(&parents(json!([accepted, refused])));
        assert_eq!(why.as_deref(), Some("no listener"));
        assert!(not_accepted(&json!({})).is_some());
    }
}
