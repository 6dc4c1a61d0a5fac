//! What the operator saw.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw; times stand in the conditions alone.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatClusterStatus {
    /// The generation that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, Paused, BackingStoresReady, MigrationsComplete,
    /// ServicesAvailable and Exposed.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The reason of Ready.
    pub reason: String,
    /// The release that runs everywhere.
    pub version: String,
    /// The release on its way, while it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_version: Option<String>,
    /// Where browsers open the chat.
    pub url: String,
    /// Workloads that are ready, such as `6/6`.
    pub ready: String,
    /// The six workloads.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub components: Vec<ComponentStatus>,
    /// The three stores.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub backing_stores: Vec<BackingStoreStatus>,
    /// The migration that ended last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_migration: Option<MigrationStatus>,
    /// Pods of socket-handler, for `kubectl scale` and autoscalers.
    pub socket_handler_replicas: i32,
    /// Their label selector.
    pub socket_handler_selector: String,
}

/// One workload.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentStatus {
    /// auth, users, messages, socket-handler, notifications or web.
    pub name: String,
    /// Pods wanted.
    pub desired: i32,
    /// Pods that have answered for two seconds.
    pub ready: i32,
    /// Pods of the newest revision.
    pub updated: i32,
    /// The image that was asked for.
    pub image: String,
}

/// One store.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackingStoreStatus {
    /// postgres, rabbitmq or redis.
    pub name: String,
    /// Managed, Delegated or External.
    pub mode: String,
    /// Whether services can use it.
    pub ready: bool,
    /// Why not.
    pub message: String,
}

/// A migration that ended.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MigrationStatus {
    /// The service.
    pub service: String,
    /// Its image.
    pub image: String,
    /// Succeeded or Failed.
    pub result: MigrationResult,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MigrationResult {
    #[default]
    Succeeded,
    Failed,
}
