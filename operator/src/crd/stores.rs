//! PostgreSQL, RabbitMQ and Redis: run by us, by another operator, or outside.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use super::rule::rules;
use super::{LocalRef, Resources};

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreMode {
    #[default]
    Managed,
    Delegated,
    External,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedisMode {
    #[default]
    Managed,
    External,
}

/// The database server: one database and one role for each service.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[schemars(transform = store_rules("postgres", &[ONE_POD, DELEGATED]))]
pub struct Postgres {
    /// `Managed` (a StatefulSet of ours), `Delegated` (CloudNativePG) or `External` (by Secret).
    #[serde(default)]
    pub mode: StoreMode,
    /// Settings of mode Managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedStore>,
    /// Settings of mode Delegated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated: Option<DelegatedPostgres>,
    /// Settings of mode External.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalPostgres>,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            mode: StoreMode::Managed,
            managed: Some(ManagedStore::default()),
            delegated: None,
            external: None,
        }
    }
}

/// The broker: one virtual host, and one user for each service.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[schemars(transform = store_rules("rabbitmq", &[ODD_PODS, PODS_STAY, DELEGATED]))]
pub struct Rabbitmq {
    /// `Managed` (a StatefulSet of ours), `Delegated` (the RabbitMQ cluster operator) or `External` (by Secret).
    #[serde(default)]
    pub mode: StoreMode,
    /// Settings of mode Managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedStore>,
    /// Settings of mode Delegated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegated: Option<DelegatedRabbitmq>,
    /// Settings of mode External.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStore>,
}

impl Default for Rabbitmq {
    fn default() -> Self {
        Self {
            mode: StoreMode::Managed,
            managed: Some(ManagedStore::default()),
            delegated: None,
            external: None,
        }
    }
}

/// Presence and caches.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[schemars(transform = store_rules("redis", &[ONE_POD]))]
pub struct RedisStore {
    /// `Managed` (a StatefulSet of ours) or `External` (by Secret).
    #[serde(default)]
    pub mode: RedisMode,
    /// Settings of mode Managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedStore>,
    /// Settings of mode External.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStore>,
}

impl Default for RedisStore {
    fn default() -> Self {
        Self {
            mode: RedisMode::Managed,
            managed: Some(ManagedStore::default()),
            external: None,
        }
    }
}

type Rule = (&'static str, &'static str);

/// The rules of all stores; STORE stands for the name of the field. `managed`
/// may be left out, and then means its defaults.
const STORE: [Rule; 5] = [
    (
        "self.mode == oldSelf.mode",
        "STORE.mode cannot be changed: move the data to a new ChatCluster instead",
    ),
    (
        "self.mode == 'Managed' || !has(self.managed)",
        "STORE.managed belongs to STORE.mode Managed alone",
    ),
    (
        "(self.mode == 'External') == has(self.external)",
        "STORE.external belongs to STORE.mode External, and to it alone",
    ),
    (
        "quantity(has(self.managed) ? self.managed.storage : 'STORAGE').compareTo(\
         quantity(has(oldSelf.managed) ? oldSelf.managed.storage : 'STORAGE')) >= 0",
        "STORE.managed.storage can grow, but never shrink",
    ),
    (
        "(has(self.managed) ? self.managed.storageClassName : '') == \
         (has(oldSelf.managed) ? oldSelf.managed.storageClassName : '')",
        "STORE.managed.storageClassName cannot be changed",
    ),
];

const DELEGATED: Rule = (
    "self.mode == 'Delegated' || !has(self.delegated)",
    "STORE.delegated belongs to STORE.mode Delegated alone",
);

const ONE_POD: Rule = (
    "!has(self.managed) || self.managed.replicas == 1",
    "STORE.managed.replicas must be 1: use mode Delegated or External for more",
);

const ODD_PODS: Rule = (
    "!has(self.managed) || self.managed.replicas != 2",
    "STORE.managed.replicas must be 1 or 3: quorum queues need an odd number",
);

const PODS_STAY: Rule = (
    "(has(self.managed) ? self.managed.replicas : 1) == (has(oldSelf.managed) ? oldSelf.managed.replicas : 1)",
    "STORE.managed.replicas cannot be changed: existing queues would keep their members",
);

fn store_rules(store: &str, more: &[Rule]) -> impl FnMut(&mut Schema) + use<> {
    let storage = ManagedStore::default().storage;
    let named: Vec<_> = STORE
        .iter()
        .chain(more)
        .map(|(rule, message)| {
            (
                rule.replace("STORAGE", &storage),
                message.replace("STORE", store),
            )
        })
        .collect();
    let pairs: Vec<_> = named
        .iter()
        .map(|(rule, message)| (rule.as_str(), message.as_str()))
        .collect();
    rules(&pairs)
}

/// A StatefulSet of ours with one volume a pod.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedStore {
    /// The image; empty means the one that the operator names.
    #[schemars(
        length(max = 512),
        regex(pattern = r"^([a-zA-Z0-9][a-zA-Z0-9._:/@-]*)?$")
    )]
    pub image: String,
    /// Pods of the store: 1, or 3 for RabbitMQ. Cannot be changed.
    #[schemars(range(min = 1, max = 3))]
    pub replicas: i32,
    /// Size of each volume; it can grow, and never shrink.
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$")
    )]
    pub storage: String,
    /// Class of the volumes; empty means the cluster's default. Cannot be changed.
    #[schemars(length(max = 253))]
    pub storage_class_name: String,
    /// Requests and limits; from `size` when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Default for ManagedStore {
    fn default() -> Self {
        Self {
            image: String::new(),
            replicas: 1,
            storage: "5Gi".into(),
            storage_class_name: String::new(),
            resources: None,
        }
    }
}

/// A CloudNativePG `Cluster`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelegatedPostgres {
    /// Instances of PostgreSQL.
    #[schemars(range(min = 1, max = 9))]
    pub instances: i32,
    /// Size of each volume.
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$")
    )]
    pub storage: String,
    /// The image; empty means CloudNativePG's own choice.
    #[schemars(
        length(max = 512),
        regex(pattern = r"^([a-zA-Z0-9][a-zA-Z0-9._:/@-]*)?$")
    )]
    pub image: String,
}

impl Default for DelegatedPostgres {
    fn default() -> Self {
        Self {
            instances: 3,
            storage: "20Gi".into(),
            image: String::new(),
        }
    }
}

/// A `RabbitmqCluster`.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DelegatedRabbitmq {
    /// Nodes of RabbitMQ.
    #[schemars(range(min = 1, max = 9))]
    pub replicas: i32,
    /// Size of each volume.
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$")
    )]
    pub storage: String,
}

impl Default for DelegatedRabbitmq {
    fn default() -> Self {
        Self {
            replicas: 3,
            storage: "10Gi".into(),
        }
    }
}

/// A PostgreSQL that somebody else runs.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalPostgres {
    /// The Secret with `host`, `username` and `password`, and `port` when it is not 5432.
    /// Each service has a database of its own, named `<chat>_<service>`.
    pub secret_ref: LocalRef,
    /// A Secret of its own for some services, by the name of the service; `dbname` in it
    /// names another database.
    #[serde(default)]
    #[schemars(
        extend("maxProperties" = 4),
        transform = rules(&[(
            "self.all(service, service in ['auth', 'users', 'messages', 'notifications'])",
            "postgres.external.perService knows auth, users, messages and notifications",
        )])
    )]
    pub per_service: BTreeMap<String, LocalRef>,
}

/// A RabbitMQ or Redis that somebody else runs.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalStore {
    /// The Secret with `host`, `username` and `password`. For Redis, `host` is `host:port`;
    /// for RabbitMQ, `port` and `vhost` may be there, too.
    pub secret_ref: LocalRef,
}
