//! How soon what somebody changes or deletes is as it was.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use crate::Size;
use crate::place::{FEW, Place};
use crate::report::{Report, Times};

/// What is changed and deleted, of the kinds that a small chat has. Jobs that have
/// ended are never changed, and without its passwords a chat is another one.
const KINDS: [(&str, &str, &str, Damage); 9] = [
    ("", "v1", "ServiceAccount", Damage::Both),
    ("", "v1", "ConfigMap", Damage::Both),
    ("networking.k8s.io", "v1", "NetworkPolicy", Damage::Both),
    ("", "v1", "Service", Damage::Both),
    ("apps", "v1", "StatefulSet", Damage::Both),
    ("apps", "v1", "Deployment", Damage::Both),
    ("networking.k8s.io", "v1", "Ingress", Damage::Both),
    ("", "v1", "Secret", Damage::Change),
    ("batch", "v1", "Job", Damage::Delete),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Damage {
    Change,
    Delete,
    Both,
}

/// One damage that was done.
struct Done {
    resource: String,
    name: String,
    at: Timestamp,
}

pub async fn run(place: &Place, size: &Size, chat: &str, report: &mut Report) -> Result<()> {
    place.silence().await?;
    let mark = place.plane.audit().mark()?;
    let mut done = Vec::new();
    for damage in [Damage::Change, Damage::Delete] {
        for (group, version, kind, allowed) in KINDS {
            if allowed != damage && allowed != Damage::Both {
                continue;
            }
            let kind = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk(&kind);
            done.extend(damage_all(place, size, chat, &resource, damage).await?);
        }
        place.silence().await?;
    }
    let repairs = place.calls(mark)?;
    let mut times = Times::default();
    for it in &done {
        let repair = repairs.iter().find(|call| {
            call.is_write()
                && call.code < 300
                && call.resource == it.resource
                && call.name == it.name
                && call.answered > it.at
        });
        let repair =
            repair.with_context(|| format!("{} {} was never repaired", it.resource, it.name))?;
        times.push(it.at, repair.answered);
    }
    report.goal(
        "A child is changed or deleted → it is as it was",
        "p95 ≤ 1 s, p99 ≤ 3 s",
        times.to_text(&[50, 95, 99]),
        times.percentile(95) <= 1000.0 && times.percentile(99) <= 3000.0,
    );
    report.value("drift_ms", times.json());
    Ok(())
}

async fn damage_all(
    place: &Place,
    size: &Size,
    chat: &str,
    resource: &ApiResource,
    damage: Damage,
) -> Result<Vec<Done>> {
    let api: Api<DynamicObject> = Api::namespaced_with(place.client.clone(), FEW, resource);
    let label =
        format!("app.kubernetes.io/instance={chat},app.kubernetes.io/managed-by=chat-operator");
    let objects = api
        .list_metadata(&ListParams::default().labels(&label))
        .await?;
    let mut done = Vec::new();
    for object in objects.items.iter().take(size.damaged_of_a_kind) {
        // Those of other controllers have our labels, and another owner.
        let ours = object
            .owner_references()
            .iter()
            .all(|it| it.kind == "ChatCluster");
        if !ours {
            continue;
        }
        let name = object.name_any();
        let at = Timestamp::now();
        if damage == Damage::Delete {
            api.delete(&name, &DeleteParams::background()).await?;
        } else {
            let wrong = json!({"metadata": {"labels": {"app.kubernetes.io/component": "wrong"}}});
            let patch = Patch::Merge(wrong);
            api.patch(&name, &PatchParams::default(), &patch).await?;
        }
        done.push(Done {
            resource: resource.plural.clone(),
            name,
            at,
        });
        // One after the other, as people do it.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(done)
}
