//! Stands in for the operators of other kinds: defines the kinds, without their
//! schemas, and writes into the status of objects what those operators write.

use anyhow::{Context, Result};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::harness::{Place, define_as};

/// Every kind of other operators that the operator makes objects of.
pub const KINDS: [(&str, &str, &str); 7] = [
    ("postgresql.cnpg.io", "v1", "Cluster"),
    ("postgresql.cnpg.io", "v1", "Database"),
    ("rabbitmq.com", "v1beta1", "RabbitmqCluster"),
    ("keda.sh", "v1alpha1", "ScaledObject"),
    ("gateway.networking.k8s.io", "v1", "HTTPRoute"),
    ("cert-manager.io", "v1", "Certificate"),
    ("monitoring.coreos.com", "v1", "ServiceMonitor"),
];

/// Defines some of them.
pub async fn define(place: &Place, kinds: &[&str]) -> Result<()> {
    for name in kinds {
        let mut all = KINDS.iter();
        let kind = all
            .find(|(_, _, kind)| kind == name)
            .context("an unknown kind")?;
        define_as(&place.client, definition(kind)).await?;
    }
    Ok(())
}

fn definition((group, version, kind): &(&str, &str, &str)) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
        },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [{
                "name": version, "served": true, "storage": true,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}

/// Writes the status of an object.
pub async fn say(place: &Place, kind: &str, name: &str, status: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"status": status}));
    let api = place.api_of(kind)?;
    api.patch_status(name, &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

/// Says of everything that a ChatCluster gave to other operators that all is well.
pub async fn are_well(place: &Place, chat: &str) -> Result<()> {
    for kind in KINDS {
        // Not every test defines every kind.
        let Ok(objects) = place.children_of(chat, &[kind]).await else {
            continue;
        };
        for ((kind, name), _) in objects {
            if let Some(status) = well(&kind) {
                say(place, &kind, &name, status).await?;
            }
        }
    }
    Ok(())
}

/// The status of an object of which its operator has made all that it asks for.
pub fn well(kind: &str) -> Option<Value> {
    Some(match kind {
        "Cluster" => cluster("True", "ClusterIsReady", "Cluster is Ready"),
        "Database" => json!({"applied": true, "observedGeneration": 1}),
        "RabbitmqCluster" => rabbitmq_cluster("True", "AllPodsAreReady", ""),
        "Certificate" => json!({"conditions": [
            {"type": "Ready", "status": "True", "reason": "Ready", "message": "Certificate is up to date"},
        ]}),
        "HTTPRoute" => json!({"parents": [{
            "parentRef": {"name": "main"},
            "conditions": [{"type": "Accepted", "status": "True"}],
        }]}),
        _ => return None,
    })
}

/// What CloudNativePG says of a Cluster.
pub fn cluster(ready: &str, reason: &str, message: &str) -> Value {
    json!({"conditions": [
        {"type": "Ready", "status": ready, "reason": reason, "message": message},
        {"type": "ContinuousArchiving", "status": "True", "reason": "ContinuousArchivingSuccess"},
    ]})
}

/// What the RabbitMQ cluster operator says of a RabbitmqCluster.
pub fn rabbitmq_cluster(ready: &str, reason: &str, message: &str) -> Value {
    json!({"conditions": [
        {"type": "AllReplicasReady", "status": ready, "reason": reason, "message": message},
        {"type": "ClusterAvailable", "status": "True", "reason": "AtLeastOneEndpointAvailable"},
        {"type": "NoWarnings", "status": "True", "reason": "NoWarnings"},
        {"type": "ReconcileSuccess", "status": "True", "reason": "Success"},
    ]})
}
