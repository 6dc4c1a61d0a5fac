//! The six workloads of the chat itself.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Quantities;
use super::rule::rules;

/// The five services and the client, each with the same settings.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Services {
    /// Accounts, sessions and keys.
    pub auth: Component,
    /// The directory of people and who is online.
    pub users: Component,
    /// Conversations and messages.
    pub messages: Component,
    /// The sockets of the chat.
    pub socket_handler: SocketHandler,
    /// Notices and public presence.
    pub notifications: Component,
    /// The browser client.
    pub web: Component,
}

/// One workload.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Component {
    /// The image; empty means that of the operator's release. A digest is accepted.
    #[schemars(
        length(max = 512),
        regex(pattern = r"^([a-zA-Z0-9][a-zA-Z0-9._:/@-]*)?$")
    )]
    pub image: String,
    /// Pods to run; from `size` when not set, and left to the autoscaler when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 500))]
    pub replicas: Option<i32>,
    /// Requests and limits; from `size` when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// More settings of the service; those that the operator sets itself are refused.
    #[schemars(length(max = 64))]
    pub env: Vec<EnvVar>,
    /// Which log lines to print, such as `info` or `info,sqlx=warn`.
    #[schemars(length(min = 1, max = 256))]
    pub log_level: String,
    /// Lets the number of pods follow the load.
    pub autoscaling: Autoscaling,
    /// Merged last into the pod template: `metadata.labels`, `metadata.annotations` and the
    /// scheduling fields of `spec`. What would weaken a pod's hardening is refused.
    #[schemars(schema_with = "anything")]
    pub pod_overrides: BTreeMap<String, serde_json::Value>,
}

impl Default for Component {
    fn default() -> Self {
        Self {
            image: String::new(),
            replicas: None,
            resources: None,
            env: Vec::new(),
            log_level: "info".into(),
            autoscaling: Autoscaling::default(),
            pod_overrides: BTreeMap::new(),
        }
    }
}

/// socket-handler has two settings more.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SocketHandler {
    #[serde(flatten)]
    pub component: Component,
    /// Seconds in which a pod that ends closes its sockets, one after the other.
    #[schemars(range(min = 1, max = 3600))]
    pub drain_seconds: i32,
    /// Sockets that one pod accepts.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections_per_pod: i32,
}

impl Default for SocketHandler {
    fn default() -> Self {
        Self {
            component: Component::default(),
            drain_seconds: 25,
            max_connections_per_pod: 20_000,
        }
    }
}

/// Kubernetes requests and limits.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// What is reserved for each pod.
    #[serde(default)]
    pub requests: Quantities,
    /// What a pod may use at most.
    #[serde(default)]
    pub limits: Quantities,
}

/// One variable of the environment.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Z_][A-Z0-9_]*$"))]
    pub name: String,
    /// Its value.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// How the number of pods follows the load.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules(&[(
    "self.min <= self.max",
    "autoscaling.min must not be above autoscaling.max",
)]))]
pub struct Autoscaling {
    /// `None`, by CPU (`Hpa`), or by CPU and open sockets (`Keda`).
    #[serde(rename = "type")]
    pub kind: AutoscalingType,
    /// Fewest pods.
    #[schemars(range(min = 1, max = 500))]
    pub min: i32,
    /// Most pods.
    #[schemars(range(min = 1, max = 500))]
    pub max: i32,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Self {
            kind: AutoscalingType::None,
            min: 2,
            max: 10,
        }
    }
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AutoscalingType {
    #[default]
    None,
    Hpa,
    Keda,
}

/// An object whose fields the API server neither knows nor drops.
fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
