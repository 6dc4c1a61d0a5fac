//! The fifth step: says what was seen. Everything but [`write`] is pure.
//!
//! Each condition is a function of the [`Observation`] in a file of its own.

mod backing_stores_ready;
mod exposed;
mod migrations_complete;
mod observe;
mod paused;
mod ready;
mod reconciling;
mod services_available;
mod stalled;
#[cfg(test)]
mod testing;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::apply::{Error, call};
use crate::chat::ChatRef;
use crate::crd::{
    BackingStoreStatus, ChatCluster, ChatClusterStatus, ComponentStatus, MigrationStatus,
};
use crate::digest::MANAGER;
pub use observe::{Pass, observe, unreadable};

/// Everything that the status is made of.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    pub paused: bool,
    pub stopped: bool,
    /// Why nothing can go on until somebody changes something.
    pub problem: Option<Problem>,
    /// Why the pass did not come to its end; it is tried again.
    pub hindrance: Option<Problem>,
    /// Objects that must go before ours can come.
    pub waits: Vec<String>,
    /// Pods of services and of stores of ours, those that are ending among them.
    pub running: i32,
    pub components: Vec<Component>,
    pub stores: Vec<BackingStoreStatus>,
    pub migrations: Vec<Migration>,
    /// What a change of passwords waits for, while there is one.
    pub passwords: Option<&'static str>,
    /// The Job that has failed to try the new logins.
    pub failed_trial: Option<String>,
    pub exposure: Exposure,
    /// The release that the ChatCluster asks for.
    pub version: String,
    pub socket_handler_selector: String,
}

/// A reason for conditions, in CamelCase, and a sentence that names the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    pub reason: String,
    pub message: String,
}

/// One of the six workloads.
#[derive(Clone, Debug, Default)]
pub struct Component {
    pub status: ComponentStatus,
    /// All its pods are of the newest revision and answer.
    pub settled: bool,
    /// Pods of an older revision that are still to be replaced.
    pub old: i32,
    /// It changes when those before it have changed.
    pub queued: bool,
    /// Why its pods do not come, if the cluster said so.
    pub failure: Option<Problem>,
}

/// The migration of a service to the wanted image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    pub service: &'static str,
    pub image: String,
    pub state: Progress,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Waiting,
    Succeeded,
    /// What the Job said.
    Failed(String),
}

/// How browsers reach the chat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    pub url: String,
    /// `None` when it should not be reached from outside.
    pub by: Option<&'static str>,
    /// What is missing.
    pub missing: Option<Problem>,
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub holds: bool,
    pub reason: String,
    pub message: String,
}

impl Verdict {
    fn yes(reason: &str, message: impl Into<String>) -> Self {
        Self {
            holds: true,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    fn no(reason: &str, message: impl Into<String>) -> Self {
        Self {
            holds: false,
            ..Self::yes(reason, message)
        }
    }
}

/// A condition: what it says of an observation.
type Judge = fn(&Observation) -> Verdict;

/// All conditions, in the order in which they are shown.
const CONDITIONS: [(&str, Judge); 8] = [
    ("Ready", ready::judge),
    ("Reconciling", reconciling::judge),
    ("Stalled", stalled::judge),
    ("Paused", paused::judge),
    ("BackingStoresReady", backing_stores_ready::judge),
    ("MigrationsComplete", migrations_complete::judge),
    ("ServicesAvailable", services_available::judge),
    ("Exposed", exposed::judge),
];

/// The status that an observation makes of the one before.
pub fn compute(chat: &ChatCluster, seen: &Observation, now: Timestamp) -> ChatClusterStatus {
    let before = chat.status.clone().unwrap_or_default();
    let generation = chat.metadata.generation;
    let conditions: Vec<_> = CONDITIONS
        .iter()
        .map(|(kind, judge)| {
            let former = before.conditions.iter().find(|it| it.type_ == *kind);
            condition(kind, judge(seen), former, generation, now)
        })
        .collect();
    let settled = seen.components.iter().filter(|it| it.settled).count();
    let all_settled = !seen.components.is_empty() && settled == seen.components.len();
    // An invalid spec says nothing about what runs.
    let known = !seen.components.is_empty();
    let version = if all_settled && !seen.stopped {
        seen.version.clone()
    } else {
        before.version
    };
    let ended = seen.migrations.iter().rev().find_map(Migration::ended);
    let sockets = seen
        .components
        .iter()
        .find(|it| it.status.name == "socket-handler");
    ChatClusterStatus {
        observed_generation: generation,
        reason: ready::judge(seen).reason,
        target_version: (known && version != seen.version).then(|| seen.version.clone()),
        version,
        url: if known {
            seen.exposure.url.clone()
        } else {
            before.url
        },
        ready: if known {
            format!("{settled}/{}", seen.components.len())
        } else {
            before.ready
        },
        components: if known {
            seen.components.iter().map(|it| it.status.clone()).collect()
        } else {
            before.components
        },
        backing_stores: if known {
            seen.stores.clone()
        } else {
            before.backing_stores
        },
        last_migration: ended.or(before.last_migration),
        socket_handler_replicas: sockets
            .map_or(before.socket_handler_replicas, |it| it.status.ready),
        socket_handler_selector: if known {
            seen.socket_handler_selector.clone()
        } else {
            before.socket_handler_selector
        },
        conditions,
    }
}

impl Migration {
    fn ended(&self) -> Option<MigrationStatus> {
        let result = match self.state {
            Progress::Waiting => return None,
            Progress::Succeeded => crate::crd::MigrationResult::Succeeded,
            Progress::Failed(_) => crate::crd::MigrationResult::Failed,
        };
        Some(MigrationStatus {
            service: self.service.to_owned(),
            image: self.image.clone(),
            result,
        })
    }
}

fn condition(
    kind: &str,
    verdict: Verdict,
    former: Option<&Condition>,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let status = if verdict.holds { "True" } else { "False" };
    let since = former
        .filter(|former| former.status == status)
        .map_or(Time(now), |former| former.last_transition_time.clone());
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason,
        // The API server accepts no more.
        message: verdict.message.chars().take(32_768).collect(),
        observed_generation: generation,
        last_transition_time: since,
    }
}

/// What is worth an event: `Ready`, `Stalled` and `Paused` have turned, or the
/// ChatCluster is stalled for another reason than before.
pub fn transitions(
    before: Option<&ChatClusterStatus>,
    after: &ChatClusterStatus,
) -> Vec<Condition> {
    let former = |kind: &str| {
        let conditions = before.map(|status| &status.conditions);
        conditions.and_then(|all| all.iter().find(|it| it.type_ == kind))
    };
    let turned = |new: &Condition| {
        let old = former(&new.type_);
        let was = old.is_some_and(|old| old.status == "True");
        let is = new.status == "True";
        match new.type_.as_str() {
            // That it is not ready yet is no news at the begin.
            "Ready" | "Paused" => was != is,
            "Stalled" => is && (!was || old.is_some_and(|old| old.reason != new.reason)),
            _ => false,
        }
    };
    after
        .conditions
        .iter()
        .filter(|it| turned(it))
        .cloned()
        .collect()
}

/// Whether the same spec just gets on: nothing turned that is worth an event, and
/// nothing keeps it from getting on.
pub fn is_progress(before: Option<&ChatClusterStatus>, after: &ChatClusterStatus) -> bool {
    let mut conditions = after.conditions.iter();
    let is_stalled = conditions.any(|it| it.type_ == "Stalled" && it.status == "True");
    before.is_some_and(|before| before.observed_generation == after.observed_generation)
        && !is_stalled
        && transitions(before, after).is_empty()
}

/// Writes the status; `false` when there is no such ChatCluster any more.
pub async fn write(
    client: &Client,
    chat: &ChatRef,
    status: &ChatClusterStatus,
) -> Result<bool, Error> {
    let api: Api<ChatCluster> = Api::namespaced(client.clone(), &chat.namespace);
    let body = Patch::Apply(json!({
        "apiVersion": "chatcluster.io/v1alpha1",
        "kind": "ChatCluster",
        "status": status,
    }));
    let parameters = PatchParams::apply(MANAGER).force();
    let object = format!("status of ChatCluster {}", chat.name);
    match call("apply", &object, || {
        api.patch_status(&chat.name, &parameters, &body)
    })
    .await
    {
        Err(error) if error.is_not_found() => Ok(false),
        written => written.map(|_| true),
    }
}

#[cfg(test)]
mod tests;
