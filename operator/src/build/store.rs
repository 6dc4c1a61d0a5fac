//! What the stores that we run have in common: a StatefulSet with a volume for each
//! pod, a Service for clients and a headless one for the names of the pods.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    ExecAction, Lifecycle, LifecycleHandler, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PodSpec, PodTemplateSpec, Probe, ResourceRequirements, Secret, SecretVolumeSource, Service,
    ServicePort, ServiceSpec, TCPSocketAction, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{meta, pod, secret};
use crate::resources::Resources;
use crate::validate::{Managed, Overrides, Validated};

/// Where the containers of the stores find things.
pub const CONFIG: &str = "/etc/chat/config";
pub const SECRETS: &str = "/etc/chat/secrets";
pub const DATA: &str = "/data";
pub const RUN: &str = "/run/chat";

/// One kind of store.
pub struct Store<'a> {
    pub part: &'static str,
    pub managed: &'a Managed,
    pub command: &'static [&'static str],
    pub env: Vec<EnvVar>,
    /// Settings and scripts by the name of the file.
    pub config: Vec<(&'static str, String)>,
    /// The same for what is secret.
    pub secrets: Vec<(&'static str, String)>,
    /// The same for who may log in, which the script `logins.sh` tells the running
    /// store whenever it changes.
    pub logins: Vec<(String, String)>,
    /// By name; clients use the first.
    pub ports: &'static [(&'static str, i32)],
    pub startup: Probe,
    pub readiness: Probe,
    pub liveness: Probe,
    pub before_stop: Option<&'static [&'static str]>,
    /// Seconds to end in, those of `before_stop` included.
    pub grace: i64,
}

impl Store<'_> {
    pub fn build(self, chat: &Validated, out: &mut Resources) {
        out.config_maps.push(self.config_map(chat));
        out.secrets.push(self.secret(chat));
        out.services.extend(self.services(chat));
        if self.managed.replicas > 1 {
            out.pod_disruption_budgets.push(self.budget(chat));
        }
        out.stateful_sets.push(self.stateful_set(chat));
    }

    fn config_map(&self, chat: &Validated) -> ConfigMap {
        ConfigMap {
            metadata: meta::object(chat, self.part, ""),
            data: Some(self.config_data()),
            ..ConfigMap::default()
        }
    }

    fn config_data(&self) -> BTreeMap<String, String> {
        // Some programs refuse to run as a user without a name.
        let user = pod::USER;
        let passwd = format!("chat:x:{user}:{user}::{RUN}:/bin/sh\n");
        self.config
            .iter()
            .cloned()
            .chain([
                ("passwd", passwd),
                ("keep.sh", include_str!("scripts/keep.sh").into()),
                ("check.sh", include_str!("scripts/check.sh").into()),
            ])
            .map(|(name, content)| (name.to_owned(), content))
            .collect()
    }

    fn secret_data(&self) -> BTreeMap<String, ByteString> {
        let fixed = self.secrets.iter().map(|(name, it)| (*name, it.as_str()));
        let logins = self.logins.iter();
        secret::data(fixed.chain(logins.map(|(name, it)| (name.as_str(), it.as_str()))))
    }

    fn secret(&self, chat: &Validated) -> Secret {
        Secret {
            metadata: meta::object(chat, self.part, ""),
            data: Some(self.secret_data()),
            ..Secret::default()
        }
    }

    fn services(&self, chat: &Validated) -> [Service; 2] {
        let service = |suffix, ports: &[(&str, i32)], headless: bool| Service {
            metadata: meta::object(chat, self.part, suffix),
            spec: Some(ServiceSpec {
                selector: Some(meta::selector_labels(chat, self.part)),
                cluster_ip: headless.then(|| "None".to_owned()),
                // Nodes find each other before they are ready.
                publish_not_ready_addresses: headless.then_some(true),
                ports: Some(
                    ports
                        .iter()
                        .map(|(name, port)| ServicePort {
                            name: Some((*name).to_owned()),
                            port: *port,
                            target_port: Some(IntOrString::String((*name).to_owned())),
                            ..ServicePort::default()
                        })
                        .collect(),
                ),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        };
        [
            service("", &self.ports[..1], false),
            service("-nodes", self.ports, true),
        ]
    }

    fn budget(&self, chat: &Validated) -> PodDisruptionBudget {
        PodDisruptionBudget {
            metadata: meta::object(chat, self.part, ""),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(meta::selector(chat, self.part)),
                ..PodDisruptionBudgetSpec::default()
            }),
            ..PodDisruptionBudget::default()
        }
    }

    fn stateful_set(self, chat: &Validated) -> StatefulSet {
        let when_deleted = if chat.delete_data { "Delete" } else { "Retain" };
        StatefulSet {
            metadata: meta::object(chat, self.part, ""),
            spec: Some(StatefulSetSpec {
                replicas: Some(if chat.stopped {
                    0
                } else {
                    self.managed.replicas
                }),
                // Nodes of a cluster wait for each other when all of them start.
                pod_management_policy: Some("Parallel".into()),
                service_name: Some(meta::name(chat, &format!("{}-nodes", self.part))),
                selector: meta::selector(chat, self.part),
                persistent_volume_claim_retention_policy: Some(
                    StatefulSetPersistentVolumeClaimRetentionPolicy {
                        when_deleted: Some(when_deleted.into()),
                        when_scaled: Some("Retain".into()),
                    },
                ),
                volume_claim_templates: Some(vec![self.claim(chat)]),
                template: self.pod(chat),
                ..StatefulSetSpec::default()
            }),
            ..StatefulSet::default()
        }
    }

    fn claim(&self, chat: &Validated) -> PersistentVolumeClaim {
        let storage = Quantity(self.managed.storage.clone());
        PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some("data".into()),
                labels: Some(meta::labels(chat, self.part)),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".into()]),
                storage_class_name: self.managed.storage_class.clone(),
                resources: Some(VolumeResourceRequirements {
                    requests: Some([("storage".to_owned(), storage)].into()),
                    ..VolumeResourceRequirements::default()
                }),
                ..PersistentVolumeClaimSpec::default()
            }),
            ..PersistentVolumeClaim::default()
        }
    }

    fn pod(&self, chat: &Validated) -> PodTemplateSpec {
        let (part, many) = (self.part, self.managed.replicas > 1);
        // Another login must not restart a store.
        let content = meta::hash(&(self.config_data(), &self.secrets));
        let name = meta::name(chat, part);
        let mut spec = PodSpec {
            termination_grace_period_seconds: Some(self.grace),
            volumes: Some(volumes(&name, &name)),
            containers: vec![self.container(), self.keeper()],
            ..PodSpec::default()
        };
        pod::schedule(chat, part, many, &Overrides::default(), &mut spec);
        let mut spec = pod::harden(chat, spec);
        if let Some(security) = &mut spec.security_context {
            // Else a large volume would be walked through at every start.
            security.fs_group_change_policy = Some("OnRootMismatch".into());
        }
        PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(meta::labels(chat, part)),
                annotations: Some([(meta::CONTENT.to_owned(), content)].into()),
                ..ObjectMeta::default()
            }),
            spec: Some(spec),
        }
    }

    /// Runs `logins.sh`. Not within the store's own container, where its processes would
    /// be taken for those of the store.
    fn keeper(&self) -> Container {
        Container {
            name: "logins".into(),
            image: Some(self.managed.image.clone()),
            command: Some(words(&["/bin/sh", "/etc/chat/config/keep.sh"])),
            env: Some(self.env.clone()),
            resources: Some(small()),
            volume_mounts: Some(mounts(&[])),
            ..Container::default()
        }
    }

    fn container(&self) -> Container {
        Container {
            name: self.part.into(),
            image: Some(self.managed.image.clone()),
            command: Some(words(self.command)),
            env: Some(self.env.clone()),
            ports: Some(
                self.ports
                    .iter()
                    .map(|(name, port)| ContainerPort {
                        name: Some((*name).to_owned()),
                        container_port: *port,
                        ..ContainerPort::default()
                    })
                    .collect(),
            ),
            resources: Some(self.managed.resources.clone()),
            startup_probe: Some(self.startup.clone()),
            readiness_probe: Some(self.readiness.clone()),
            liveness_probe: Some(self.liveness.clone()),
            lifecycle: self.before_stop.map(|command| Lifecycle {
                pre_stop: Some(LifecycleHandler {
                    exec: Some(ExecAction {
                        command: Some(words(command)),
                    }),
                    ..LifecycleHandler::default()
                }),
                ..Lifecycle::default()
            }),
            volume_mounts: Some(mounts(&[pod::mount("data", DATA, false)])),
            ..Container::default()
        }
    }
}

/// A probe by command. `patience` is how many seconds of failures it bears.
pub fn exec(command: &[&str], period: i32, timeout: i32, patience: i32) -> Probe {
    Probe {
        exec: Some(ExecAction {
            command: Some(words(command)),
        }),
        timeout_seconds: Some(timeout),
        ..every(period, patience)
    }
}

/// A probe by connection.
pub fn connect(port: &str, period: i32, patience: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::String(port.into()),
            host: None,
        }),
        ..every(period, patience)
    }
}

fn every(period: i32, patience: i32) -> Probe {
    Probe {
        period_seconds: Some(period),
        failure_threshold: Some(patience / period),
        ..Probe::default()
    }
}

pub fn env(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar {
        name: name.into(),
        value: Some(value.into()),
        value_from: None,
    }
}

/// For what runs a small program now and then.
pub fn small() -> ResourceRequirements {
    let amounts = |cpu: &str, memory: &str| {
        let all = [("cpu", cpu), ("memory", memory)];
        Some(
            all.map(|(name, amount)| (name.to_owned(), Quantity(amount.into())))
                .into(),
        )
    };
    ResourceRequirements {
        requests: amounts("10m", "32Mi"),
        limits: amounts("500m", "256Mi"),
        claims: None,
    }
}

pub fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|&word| word.to_owned()).collect()
}

/// The ConfigMap and the Secret of these names, and folders to write into.
pub fn volumes(config: &str, secrets: &str) -> Vec<Volume> {
    let volume = |name: &str| Volume {
        name: name.into(),
        ..Volume::default()
    };
    let scratch = |name: &str| Volume {
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..volume(name)
    };
    vec![
        Volume {
            config_map: Some(ConfigMapVolumeSource {
                name: config.into(),
                ..ConfigMapVolumeSource::default()
            }),
            ..volume("config")
        },
        Volume {
            secret: Some(SecretVolumeSource {
                secret_name: Some(secrets.into()),
                default_mode: Some(0o440),
                ..SecretVolumeSource::default()
            }),
            ..volume("secrets")
        },
        scratch("run"),
        scratch("tmp"),
    ]
}

/// Where those are, and some more.
pub fn mounts(more: &[VolumeMount]) -> Vec<VolumeMount> {
    let ours = [
        pod::mount("config", CONFIG, true),
        VolumeMount {
            sub_path: Some("passwd".into()),
            ..pod::mount("config", "/etc/passwd", true)
        },
        pod::mount("secrets", SECRETS, true),
        pod::mount("run", RUN, false),
        pod::mount("tmp", "/tmp", false),
    ];
    ours.into_iter().chain(more.iter().cloned()).collect()
}
