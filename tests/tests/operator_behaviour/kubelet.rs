//! Stands in for the kubelet, as there is no node: every pod that is made is said to
//! run and to be ready, and every pod of a Job to have succeeded. Nothing runs. Of an
//! image that a test calls broken, pods run and get no further, and those of a Job
//! have crashed too often.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::task::JoinHandle;

/// Ends when it is dropped.
pub struct Kubelet {
    task: JoinHandle<()>,
    broken: Broken,
}

/// Names of images.
#[derive(Clone, Default)]
struct Broken(Arc<Mutex<BTreeSet<String>>>);

impl Broken {
    fn change<T>(&self, with: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kubelet {
    pub fn of(client: &Client, namespace: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let broken = Broken::default();
        let known = broken.clone();
        let task = tokio::spawn(async move {
            let events = watcher(pods.clone(), Config::default())
                .default_backoff()
                .applied_objects();
            futures::pin_mut!(events);
            while let Some(event) = events.next().await {
                if let Ok(pod) = event {
                    // It may be gone by now, and then needs no status.
                    let _ = start(&pods, &pod, &known).await;
                }
            }
        });
        Self { task, broken }
    }

    /// From now on no new pod of this image gets well.
    pub fn breaks(&self, image: &str) {
        self.broken.change(|all| all.insert(image.to_owned()));
    }

    /// New pods of this image get well again.
    pub fn mends(&self, image: &str) {
        self.broken.change(|all| all.remove(image));
    }
}

async fn start(pods: &Api<Pod>, pod: &Pod, broken: &Broken) -> Result<()> {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() || phase != Some("Pending") {
        return Ok(());
    }
    let of_a_job = pod
        .owner_references()
        .iter()
        .any(|owner| owner.kind == "Job");
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let is_broken = broken.change(|all| {
        let mut images = containers.filter_map(|it| it.image.as_ref());
        images.any(|image| all.contains(image))
    });
    let ready = |status: &str| json!([{"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let status = match (of_a_job, is_broken) {
        (true, false) => json!({"phase": "Succeeded"}),
        (false, false) => json!({"phase": "Running", "conditions": ready("True")}),
        (false, true) => json!({"phase": "Running", "conditions": ready("False")}),
        // As often as the operator's Jobs allow: the controller of Jobs then gives up.
        (true, true) => json!({
            "phase": "Running",
            "conditions": ready("False"),
            "containerStatuses": [{
                "name": "migrate", "image": "", "imageID": "", "ready": false, "restartCount": 10,
            }],
        }),
    };
    let patch = Patch::Merge(json!({"status": status}));
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch)
        .await?;
    Ok(())
}
