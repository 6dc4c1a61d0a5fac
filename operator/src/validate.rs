//! The spec and the facts, turned into what `build` may rely on. Pure.
//!
//! After this step nobody reads the raw spec: presets are applied, references
//! resolved, and everything that could be wrong has been said.

mod check;
mod env;
mod images;
mod overrides;
mod secrets;
mod sizing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::crd::{Autoscaling, Scheduling};
use crate::credentials::Credentials;

pub use check::validate;
pub use overrides::Overrides;
pub use secrets::JWT_SECRET;

/// What the operator's flags say, for everything that a spec leaves open.
#[derive(Clone, Debug, clap::Args)]
pub struct Defaults {
    /// The release that a ChatCluster without a version runs.
    #[arg(long, env = "DEFAULT_VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    pub version: String,
    /// Where the images of the six parts are, by their names.
    #[arg(long, env = "IMAGES", default_value = "chatcluster")]
    pub images: String,
    /// The image of managed PostgreSQL.
    #[arg(
        long,
        env = "POSTGRES_IMAGE",
        default_value = "docker.io/library/postgres:17"
    )]
    pub postgres_image: String,
    /// The image of managed RabbitMQ.
    #[arg(
        long,
        env = "RABBITMQ_IMAGE",
        default_value = "docker.io/library/rabbitmq:4.1"
    )]
    pub rabbitmq_image: String,
    /// The image of managed Redis.
    #[arg(
        long,
        env = "REDIS_IMAGE",
        default_value = "docker.io/library/redis:7.4"
    )]
    pub redis_image: String,
    /// Registries, or folders of them, that images may come from; all when not set.
    #[arg(long, env = "ALLOWED_REGISTRIES", value_delimiter = ',')]
    pub allowed_registries: Vec<String>,
}

/// What runs for a `ChatCluster` besides its stores, in the order of `status.components`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    Service(chat_events::Service),
    Web,
}

impl Part {
    pub const ALL: [Self; 6] = [
        Self::Service(chat_events::Service::Auth),
        Self::Service(chat_events::Service::Users),
        Self::Service(chat_events::Service::Messages),
        Self::Service(chat_events::Service::Notifications),
        Self::Service(chat_events::Service::SocketHandler),
        Self::Web,
    ];

    /// As in the names of objects.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Service(service) => service.name(),
            Self::Web => "web",
        }
    }

    /// As in `spec.services`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Service(chat_events::Service::SocketHandler) => "socketHandler",
            part => part.name(),
        }
    }
}

/// A `ChatCluster` that can be built.
#[derive(Clone, Debug)]
pub struct Validated {
    pub name: String,
    pub namespace: String,
    pub owner: OwnerReference,
    pub host: String,
    /// `https://host` or `http://host`.
    pub origin: String,
    /// The release of images that do not name their own.
    pub version: String,
    pub pull_secrets: Vec<String>,
    pub stopped: bool,
    /// Volumes and generated Secrets go with the ChatCluster.
    pub delete_data: bool,
    pub parts: BTreeMap<Part, Workload>,
    pub drain_seconds: i32,
    pub max_connections_per_pod: i32,
    pub exposure: Exposure,
    pub postgres: Postgres,
    pub rabbitmq: Rabbitmq,
    pub redis: Redis,
    pub credentials: Credentials,
    pub network_policy: bool,
    pub service_monitor: bool,
    pub otlp_endpoint: Option<String>,
    pub scheduling: Scheduling,
    /// Services whose migration for the wanted image has succeeded.
    pub migrated: Vec<chat_events::Service>,
}

/// One of the six workloads, with its presets applied.
#[derive(Clone, Debug)]
pub struct Workload {
    pub image: String,
    /// `None` while an autoscaler decides.
    pub replicas: Option<i32>,
    pub resources: ResourceRequirements,
    pub env: Vec<(String, String)>,
    pub log_level: String,
    pub autoscaling: Autoscaling,
    pub overrides: Overrides,
}

/// How browsers reach the chat.
#[derive(Clone, Debug)]
pub enum Exposure {
    None,
    Ingress {
        class: String,
        annotations: BTreeMap<String, String>,
        tls: Tls,
    },
    Gateway {
        /// Name and section of Gateways in the same namespace.
        parents: Vec<(String, Option<String>)>,
        tls: Tls,
    },
}

#[derive(Clone, Debug)]
pub enum Tls {
    Disabled,
    /// It ends before us.
    External,
    Secret(String),
    /// Name and kind of the issuer; the Secret is ours.
    CertManager {
        issuer: String,
        kind: String,
    },
}

/// A store that we run.
#[derive(Clone, Debug)]
pub struct Managed {
    pub image: String,
    pub replicas: i32,
    pub storage: String,
    pub storage_class: Option<String>,
    pub resources: ResourceRequirements,
}

/// Where a service logs in.
#[derive(Clone, Debug)]
pub struct Login {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// Secret and key that hold the password.
    pub password: (String, String),
    /// Database or virtual host.
    pub place: String,
    /// `content` of what the pod reads, so that a change rolls it.
    pub content_hash: String,
}

#[derive(Clone, Debug)]
pub enum Postgres {
    Managed(Managed),
    Delegated {
        instances: i32,
        storage: String,
        image: Option<String>,
        ready: bool,
    },
    External(BTreeMap<chat_events::Service, Login>),
}

#[derive(Clone, Debug)]
pub enum Rabbitmq {
    Managed(Managed),
    Delegated {
        replicas: i32,
        storage: String,
        ready: bool,
    },
    External(Login),
}

#[derive(Clone, Debug)]
pub enum Redis {
    Managed(Managed),
    External(Login),
}

/// Why a ChatCluster cannot be built: a reason for the condition, in
/// CamelCase, and a sentence that names the object and the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Invalid {
    pub reason: &'static str,
    pub message: String,
}

impl Invalid {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}
