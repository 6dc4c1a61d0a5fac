//! `podOverrides`: what users may change of a pod, and nothing that would weaken it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use serde::Deserialize;
use serde_json::Value;

use super::Invalid;

/// Everything that is not named here is refused.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    #[serde(default)]
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: Spec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    #[serde(default)]
    pub tolerations: Vec<Toleration>,
    pub affinity: Option<Affinity>,
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    pub priority_class_name: Option<String>,
    pub termination_grace_period_seconds: Option<i64>,
}

/// Ours: what selects pods, and what rolls them.
const OURS: [&str; 2] = ["app.kubernetes.io/", "chatcluster.io/"];

pub fn parse(
    field: &str,
    raw: &BTreeMap<String, Value>,
    least_grace: i64,
) -> Result<Overrides, Invalid> {
    let value = Value::Object(raw.clone().into_iter().collect());
    // In an affinity; the objects of other namespaces are none of its business.
    if names_namespaces(&value) {
        return Err(Invalid::new(
            "ForeignNamespace",
            format!("spec.{field} names other namespaces, and may only speak of its own"),
        ));
    }
    let overrides: Overrides = serde_json::from_value(value)
        .map_err(|error| Invalid::new("OverrideNotAllowed", format!("spec.{field}: {error}")))?;
    let metadata = &overrides.metadata;
    for key in metadata.labels.keys().chain(metadata.annotations.keys()) {
        if OURS.iter().any(|prefix| key.starts_with(prefix)) {
            return Err(Invalid::new(
                "ReservedLabel",
                format!("spec.{field}: `{key}` is set by the operator"),
            ));
        }
    }
    if let Some(grace) = overrides.spec.termination_grace_period_seconds
        && grace < least_grace
    {
        return Err(Invalid::new(
            "GraceTooShort",
            format!(
                "spec.{field}: terminationGracePeriodSeconds is {grace}, and a pod needs \
                 {least_grace} to end its requests and sockets"
            ),
        ));
    }
    Ok(overrides)
}

fn names_namespaces(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(key, value)| {
            key == "namespaces" || key == "namespaceSelector" || names_namespaces(value)
        }),
        Value::Array(items) => items.iter().any(names_namespaces),
        _ => false,
    }
}
