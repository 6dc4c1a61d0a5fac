//! Keys, network rules, metrics and where pods run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalRef;

/// Keys and network rules.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Security {
    /// Deny what the chat does not need, in both directions.
    pub network_policy: bool,
    /// The key from which access tokens are signed.
    pub jwt: Jwt,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            network_policy: true,
            jwt: Jwt::default(),
        }
    }
}

/// The key from which access tokens are signed.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Jwt {
    /// A Secret with the key `JWT_KEY` of 32 bytes or more. When not set, a Secret named
    /// `jwt-secret` is used if there is one, else a key is generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalRef>,
}

/// Metrics and traces.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observability {
    /// A ServiceMonitor: `Auto` makes one when the cluster knows the kind.
    pub service_monitor: Monitoring,
    /// Where traces go (OTLP over HTTP); nowhere when empty.
    #[schemars(length(max = 512), regex(pattern = r"^(https?://[^\s]+)?$"))]
    pub otlp_endpoint: String,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Monitoring {
    #[default]
    Auto,
    Disabled,
}

/// Where pods may run.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Scheduling {
    /// Labels that a node must have.
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that pods accept.
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// `Default` spreads the pods of a service over zones and nodes where it can.
    pub topology_spread: TopologySpread,
    /// The PriorityClass; empty means the cluster's default.
    #[schemars(length(max = 253))]
    pub priority_class_name: String,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopologySpread {
    #[default]
    Default,
    Disabled,
}

/// A taint that pods accept.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Key of the taint; empty with operator `Exists` means every taint.
    #[schemars(length(max = 253))]
    pub key: String,
    /// `Equal` or `Exists`.
    #[schemars(regex(pattern = "^(Equal|Exists)?$"))]
    pub operator: String,
    /// Value of the taint.
    #[schemars(length(max = 63))]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule`, `NoExecute`, or empty for all.
    #[schemars(regex(pattern = "^(NoSchedule|PreferNoSchedule|NoExecute)?$"))]
    pub effect: String,
}
