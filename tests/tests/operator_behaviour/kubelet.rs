//! Stands in for the kubelet, as there is no node: every pod that is made is said to
//! run and to be ready, and every pod of a Job to have succeeded. Nothing runs.

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
pub struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Kubelet {
    pub fn of(client: &Client, namespace: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        Self(tokio::spawn(async move {
            let events = watcher(pods.clone(), Config::default())
                .default_backoff()
                .applied_objects();
            futures::pin_mut!(events);
            while let Some(event) = events.next().await {
                if let Ok(pod) = event {
                    // It may be gone by now, and then needs no status.
                    let _ = start(&pods, &pod).await;
                }
            }
        }))
    }
}

async fn start(pods: &Api<Pod>, pod: &Pod) -> Result<()> {
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
    let status = if of_a_job {
        json!({"phase": "Succeeded"})
    } else {
        json!({
            "phase": "Running",
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ],
        })
    };
    let patch = Patch::Merge(json!({"status": status}));
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &patch)
        .await?;
    Ok(())
}
