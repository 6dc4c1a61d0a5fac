//! The six workloads: one Deployment each.

use std::collections::BTreeMap;

use chat_events::Service;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource,
    EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle, LifecycleHandler,
    ObjectFieldSelector, PodSpec, PodTemplateSpec, Probe, SleepAction, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{config_map, meta, pod, settings};
use crate::resources::Resources;
use crate::validate::{Part, Validated, Workload};

/// Seconds in which everybody learns that a pod is about to end, before it does.
const PRE_STOP: i64 = 5;
/// Seconds for requests that are under way.
const DRAIN: i64 = 25;
/// Seconds to spare.
const SPARE: i64 = 10;

pub fn build(chat: &Validated, out: &mut Resources) {
    for (part, workload) in &chat.parts {
        if waits_for_migration(chat, *part) {
            out.held.push(meta::name(chat, part.name()));
        } else {
            out.deployments.push(deployment(chat, *part, workload));
        }
    }
}

/// The seconds that a pod has to end.
pub fn grace(part: Part, drain_seconds: i32) -> i64 {
    let drain = match part {
        Part::Service(Service::SocketHandler | Service::Notifications) => drain_seconds.into(),
        _ => DRAIN,
    };
    PRE_STOP + drain.max(DRAIN) + SPARE
}

/// Whether two or more pods run, or may run.
pub fn many(workload: &Workload) -> bool {
    let fewest = workload.replicas.unwrap_or(workload.autoscaling.min);
    fewest >= 2
}

/// Old pods serve until the database suits the new ones. Nothing that is stopped waits.
fn waits_for_migration(chat: &Validated, part: Part) -> bool {
    match part {
        Part::Service(service) => {
            service.has_database() && !chat.stopped && !chat.migrated.contains(&service)
        }
        Part::Web => false,
    }
}

/// Seconds from a pod's readiness until it counts: nodes lead to a new pod up to a
/// second later (kube-proxy), and who is told that a chat is ready goes there at once.
const REACHED: i32 = 2;

fn deployment(chat: &Validated, part: Part, workload: &Workload) -> Deployment {
    let template = template(chat, part, workload);
    let hash = (meta::TEMPLATE.to_owned(), meta::hash(&template));
    Deployment {
        metadata: ObjectMeta {
            annotations: Some([hash].into()),
            ..meta::object(chat, part.name(), "")
        },
        spec: Some(DeploymentSpec {
            replicas: workload.replicas,
            min_ready_seconds: Some(REACHED),
            revision_history_limit: Some(3),
            selector: meta::selector(chat, part.name()),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(0)),
                    max_surge: Some(surge(part)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// Where sockets are open, all new pods come before the first old one goes: whoever is
/// sent away from that one cannot come to another old one, to be sent away once more.
fn surge(part: Part) -> IntOrString {
    match part {
        Part::Service(Service::SocketHandler | Service::Notifications) => {
            IntOrString::String("100%".into())
        }
        _ => IntOrString::Int(1),
    }
}

fn template(chat: &Validated, part: Part, workload: &Workload) -> PodTemplateSpec {
    let (mut spec, content) = match part {
        Part::Service(service) => service_pod(chat, service, workload),
        Part::Web => web_pod(chat, workload),
    };
    let own = &workload.overrides;
    let least = grace(part, chat.drain_seconds);
    let wanted = own.spec.termination_grace_period_seconds;
    spec.service_account_name = Some(meta::name(chat, part.name()));
    spec.termination_grace_period_seconds = Some(wanted.unwrap_or(least).max(least));
    // One pod as well: else a second one would replace the first.
    pod::schedule(chat, part.name(), true, own, &mut spec);
    let mut labels = own.metadata.labels.clone();
    labels.extend(meta::labels(chat, part.name()));
    let mut annotations = own.metadata.annotations.clone();
    annotations.insert(meta::CONTENT.into(), content);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod::harden(chat, spec)),
    }
}

/// The pod, and a hash of all that it reads.
fn service_pod(chat: &Validated, service: Service, workload: &Workload) -> (PodSpec, String) {
    let settings = settings::serve(chat, service);
    let hashes: BTreeMap<_, _> = settings
        .files
        .iter()
        .map(|file| (file.setting, &file.hash))
        .collect();
    let content = meta::hash(&(&settings.plain, hashes));
    let mut container = Container {
        args: Some(vec!["serve".into()]),
        env: Some(vec![EnvVar {
            name: "POD_NAME".into(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    field_path: "metadata.name".into(),
                    api_version: Some("v1".into()),
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        }]),
        env_from: Some(vec![EnvFromSource {
            config_map_ref: Some(ConfigMapEnvSource {
                name: meta::name(chat, service.name()),
                optional: None,
            }),
            ..EnvFromSource::default()
        }]),
        ports: Some(vec![port("http", 3000), port("admin", 9000)]),
        // Up once it listens; ready while it can answer something; alive while it turns.
        startup_probe: Some(probe("admin", "/livez", 1, 60)),
        readiness_probe: Some(probe("admin", "/readyz/requests", 5, 2)),
        liveness_probe: Some(probe("admin", "/livez", 10, 6)),
        ..container(service.name(), workload)
    };
    let mut pod = PodSpec::default();
    pod::mount_secrets(&settings.files, &mut pod, &mut container);
    pod.containers.push(container);
    (pod, content)
}

fn web_pod(chat: &Validated, workload: &Workload) -> (PodSpec, String) {
    let config = config_map::web();
    let content = meta::hash(&config);
    let container = Container {
        ports: Some(vec![port("http", 3000)]),
        startup_probe: Some(probe("http", "/livez", 1, 30)),
        readiness_probe: Some(probe("http", "/readyz", 5, 2)),
        liveness_probe: Some(probe("http", "/livez", 10, 6)),
        volume_mounts: Some(vec![
            pod::mount("config", "/etc/nginx", true),
            pod::mount("tmp", "/tmp", false),
        ]),
        ..container("web", workload)
    };
    let pod = PodSpec {
        containers: vec![container],
        volumes: Some(vec![
            Volume {
                name: "config".into(),
                config_map: Some(ConfigMapVolumeSource {
                    name: meta::name(chat, "web"),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            },
            Volume {
                name: "tmp".into(),
                empty_dir: Some(EmptyDirVolumeSource::default()),
                ..Volume::default()
            },
        ]),
        ..PodSpec::default()
    };
    (pod, content)
}

fn container(name: &str, workload: &Workload) -> Container {
    Container {
        name: name.into(),
        image: Some(workload.image.clone()),
        resources: Some(workload.resources.clone()),
        // The images hold no shell.
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: PRE_STOP }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        ..Container::default()
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number,
        ..ContainerPort::default()
    }
}

fn probe(port: &str, path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::String(port.into()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
