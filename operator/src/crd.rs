//! The `ChatCluster` resource: what people write, and what they are told.
//!
//! The schema is the reference (`kubectl explain chat`); `crds/chatcluster.yaml`
//! and `docs/reference/chatcluster.md` are generated from it.

mod component;
mod exposure;
mod operation;
mod rule;
mod status;
mod stores;

use std::collections::BTreeMap;

use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use component::{
    Autoscaling, AutoscalingType, Component, EnvVar, Resources, Services, SocketHandler,
};
pub use exposure::{Exposure, ExposureType, Gateway, Ingress, IssuerRef, ParentRef, Tls, TlsMode};
pub use operation::{
    Jwt, Monitoring, Observability, Scheduling, Security, Toleration, TopologySpread,
};
pub use status::{
    BackingStoreStatus, ChatClusterStatus, ComponentStatus, MigrationResult, MigrationStatus,
};
pub use stores::{
    DelegatedPostgres, DelegatedRabbitmq, ExternalPostgres, ExternalStore, ManagedStore, Postgres,
    Rabbitmq, RedisMode, RedisStore, StoreMode,
};

/// The domain of our labels, annotations and API group.
pub const GROUP: &str = "chatcluster.io";

/// What the chat is to be.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "chatcluster.io",
    version = "v1alpha1",
    kind = "ChatCluster",
    doc = "A chat platform: five services, a browser client, and the stores behind them.",
    plural = "chatclusters",
    shortname = "chat",
    category = "chats",
    namespaced,
    cel,
    derive = "PartialEq",
    status = "ChatClusterStatus",
    scale(
        spec_replicas_path = ".spec.services.socketHandler.replicas",
        status_replicas_path = ".status.socketHandlerReplicas",
        label_selector_path = ".status.socketHandlerSelector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason"),
    printcolumn(name = "Services", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Postgres", type_ = "string", json_path = ".spec.postgres.mode", priority = 1),
    printcolumn(name = "RabbitMQ", type_ = "string", json_path = ".spec.rabbitmq.mode", priority = 1),
    printcolumn(name = "Redis", type_ = "string", json_path = ".spec.redis.mode", priority = 1),
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 40 characters of a-z, 0-9 and '-', and begin with a letter: the names of all objects are made from it"),
)]
#[serde(rename_all = "camelCase")]
pub struct ChatClusterSpec {
    /// The name under which browsers open the chat, such as `chat.example.com`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub host: String,
    /// The release of all six images; empty means the operator's own.
    #[serde(default)]
    #[schemars(
        length(max = 128),
        regex(pattern = r"^([A-Za-z0-9_][A-Za-z0-9._-]*)?$")
    )]
    pub version: String,
    /// Put before every image name in place of its registry, for clusters without access to the Internet.
    #[serde(default)]
    #[schemars(
        length(max = 253),
        regex(pattern = r"^([a-z0-9][A-Za-z0-9._:/-]*[A-Za-z0-9])?$")
    )]
    pub image_registry: String,
    /// Secrets of this namespace with which images are pulled.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalRef>,
    /// Replicas and resources of everything that does not say its own.
    #[serde(default)]
    pub size: Size,
    /// The operator changes nothing while this is true; the status is kept up to date.
    #[serde(default)]
    pub paused: bool,
    /// Nothing runs while this is true; volumes and Secrets stay.
    #[serde(default)]
    pub stopped: bool,
    /// What happens to volumes and generated Secrets when the ChatCluster is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// The five services and the client.
    #[serde(default)]
    pub services: Services,
    /// How browsers reach the chat.
    #[serde(default)]
    pub exposure: Exposure,
    /// Where accounts, messages and notices are kept.
    #[serde(default)]
    pub postgres: Postgres,
    /// What carries events between the services.
    #[serde(default)]
    pub rabbitmq: Rabbitmq,
    /// Presence and caches; nothing that cannot be built anew.
    #[serde(default)]
    pub redis: RedisStore,
    /// Keys and network rules.
    #[serde(default)]
    pub security: Security,
    /// Metrics and traces.
    #[serde(default)]
    pub observability: Observability,
    /// Where pods may run.
    #[serde(default)]
    pub scheduling: Scheduling,
}

impl ChatClusterSpec {
    /// Whether the operator runs any of the three stores itself.
    pub fn has_managed_store(&self) -> bool {
        [self.postgres.mode, self.rabbitmq.mode].contains(&StoreMode::Managed)
            || self.redis.mode == RedisMode::Managed
    }
}

/// An object of the same namespace.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRef {
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// The CustomResourceDefinition as YAML.
///
/// # Errors
/// When it cannot be written as YAML.
pub fn definition() -> anyhow::Result<String> {
    crate::yaml::to_string(&ChatCluster::crd())
}

/// A preset of replicas and resources.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    #[default]
    Small,
    Medium,
    Large,
}

/// Whether data outlives its ChatCluster.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    #[default]
    Retain,
    Delete,
}

/// Kubernetes quantities by resource name, such as `cpu` and `memory`.
pub type Quantities = BTreeMap<String, String>;

#[cfg(test)]
mod tests;
