//! Stands in for the kubelet, as there is no node: says of every pod that it is ready,
//! and of every pod of a Job that it has succeeded. Or, where there are a thousand
//! chats, for Kubernetes' own controllers too: says the same of every Deployment,
//! StatefulSet and Job, and no pod is made. Nothing runs.

use std::fmt::Debug;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Statuses on their way at the same time, for each kind.
const AT_ONCE: usize = 8;

/// Ends when it is dropped.
pub struct StandIn(Vec<JoinHandle<()>>);

impl Drop for StandIn {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl StandIn {
    pub fn for_the_kubelet(client: &Client) -> Self {
        Self(vec![tokio::spawn(run(client.clone(), pod))])
    }

    pub fn for_the_controllers(client: &Client) -> Self {
        Self(vec![
            tokio::spawn(run(client.clone(), deployment)),
            tokio::spawn(run(client.clone(), stateful_set)),
            tokio::spawn(run(client.clone(), job)),
        ])
    }
}

async fn run<K>(client: Client, status: fn(&K) -> Option<Value>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let of_chats = Config::default().labels("app.kubernetes.io/instance");
    watcher(Api::<K>::all(client.clone()), of_chats)
        .default_backoff()
        .applied_objects()
        .for_each_concurrent(AT_ONCE, |event| {
            let client = client.clone();
            async move {
                let Ok(object) = event else {
                    return;
                };
                let (Some(status), Some(namespace)) = (status(&object), object.namespace()) else {
                    return;
                };
                let api: Api<K> = Api::namespaced(client, &namespace);
                let patch = Patch::Merge(json!({"status": status}));
                // It may be gone by now, and then needs no status.
                let _ = api
                    .patch_status(&object.name_any(), &PatchParams::default(), &patch)
                    .await;
            }
        })
        .await;
}

fn pod(object: &Pod) -> Option<Value> {
    let phase = object
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if object.metadata.deletion_timestamp.is_some() || phase != Some("Pending") {
        return None;
    }
    let of_a_job = object
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "Job");
    Some(if of_a_job {
        json!({"phase": "Succeeded"})
    } else {
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": now()});
        json!({"phase": "Running", "conditions": [ready]})
    })
}

fn deployment(object: &Deployment) -> Option<Value> {
    let replicas = object.spec.as_ref()?.replicas.unwrap_or(1);
    let generation = object.metadata.generation;
    let known = object.status.as_ref().is_some_and(|status| {
        status.observed_generation == generation && status.ready_replicas.unwrap_or(0) == replicas
    });
    (!known).then(|| {
        json!({
            "observedGeneration": generation,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
        })
    })
}

fn stateful_set(object: &StatefulSet) -> Option<Value> {
    let replicas = object.spec.as_ref()?.replicas.unwrap_or(1);
    let generation = object.metadata.generation;
    let known = object.status.as_ref().is_some_and(|status| {
        status.observed_generation == generation && status.ready_replicas.unwrap_or(0) == replicas
    });
    (!known).then(|| {
        json!({
            "observedGeneration": generation,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "currentReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
        })
    })
}

fn job(object: &Job) -> Option<Value> {
    let ended = object
        .status
        .as_ref()
        .is_some_and(|status| status.completion_time.is_some());
    let now = now();
    let holds = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    (!ended).then(|| {
        json!({
            "startTime": now,
            "completionTime": now,
            "succeeded": 1,
            "ready": 0,
            "uncountedTerminatedPods": {},
            "conditions": [holds("SuccessCriteriaMet"), holds("Complete")],
        })
    })
}

/// As the API server writes times: in whole seconds.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
