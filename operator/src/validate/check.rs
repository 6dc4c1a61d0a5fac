//! The order in which a spec is checked: the first fault is the one that is told.

use std::collections::BTreeMap;

use chat_events::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use super::images::Images;
use super::{
    Defaults, Exposure, Invalid, Managed, Part, Postgres, Rabbitmq, Redis, Tls, Validated,
    Workload, env, overrides, secrets, sizing,
};
use crate::build::{deployment, migration};
use crate::crd::{
    AutoscalingType, ChatCluster, ChatClusterSpec, Component, DeletionPolicy, ExposureType,
    ManagedStore, MigrationResult, Monitoring, RedisMode, StoreMode, TlsMode,
};
use crate::facts::{Api, Facts};

/// # Errors
/// The first fault, with the field or the object and key that it is about.
pub fn validate(
    chat: &ChatCluster,
    facts: &Facts,
    defaults: &Defaults,
) -> Result<Validated, Invalid> {
    let spec = &chat.spec;
    let images = Images { spec, defaults };
    let exposure = exposure(chat, facts)?;
    secrets::jwt(chat, facts)?;
    let mut validated = Validated {
        name: chat.name_any(),
        namespace: chat.namespace().unwrap_or_else(|| "default".into()),
        owner: OwnerReference {
            block_owner_deletion: Some(true),
            ..chat.controller_owner_ref(&()).unwrap_or_default()
        },
        host: spec.host.clone(),
        origin: origin(spec)?,
        version: images.version().to_owned(),
        pull_secrets: pull_secrets(spec),
        stopped: spec.stopped,
        delete_data: spec.deletion_policy == DeletionPolicy::Delete,
        parts: parts(&images, facts)?,
        drain_seconds: spec.services.socket_handler.drain_seconds,
        max_connections_per_pod: spec.services.socket_handler.max_connections_per_pod,
        exposure,
        postgres: postgres(chat, &images, facts)?,
        rabbitmq: rabbitmq(&images, facts)?,
        redis: redis(&images, facts)?,
        credentials: facts.credentials.clone(),
        network_policy: spec.security.network_policy,
        service_monitor: spec.observability.service_monitor == Monitoring::Auto
            && facts.apis.contains(&Api::ServiceMonitor),
        otlp_endpoint: Some(spec.observability.otlp_endpoint.clone())
            .filter(|endpoint| !endpoint.is_empty()),
        scheduling: spec.scheduling.clone(),
        migrated: Vec::new(),
    };
    validated.migrated = Service::ALL
        .into_iter()
        .filter(|service| {
            let job = migration::name(&validated, *service);
            facts.migrations.get(&job) == Some(&MigrationResult::Succeeded)
        })
        .collect();
    Ok(validated)
}

fn origin(spec: &ChatClusterSpec) -> Result<String, Invalid> {
    let host = &spec.host;
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return Err(Invalid::new(
            "InvalidHost",
            format!("spec.host: `{host}` is no name of a host, such as chat.example.com"),
        ));
    }
    Ok(match spec.exposure.tls.mode {
        TlsMode::Disabled => format!("http://{host}"),
        TlsMode::External | TlsMode::Secret | TlsMode::CertManager => format!("https://{host}"),
    })
}

fn pull_secrets(spec: &ChatClusterSpec) -> Vec<String> {
    spec.image_pull_secrets
        .iter()
        .map(|secret| secret.name.clone())
        .collect()
}

fn exposure(chat: &ChatCluster, facts: &Facts) -> Result<Exposure, Invalid> {
    let wanted = &chat.spec.exposure;
    let tls = match wanted.tls.mode {
        TlsMode::Disabled => Tls::Disabled,
        TlsMode::External => Tls::External,
        TlsMode::Secret => {
            let name = wanted.tls.secret_name.as_deref().unwrap_or_default();
            secrets::tls(name, facts)?;
            Tls::Secret(name.to_owned())
        }
        TlsMode::CertManager => {
            need(
                facts,
                Api::CertManager,
                "CertManagerMissing",
                "spec.exposure.tls.mode is CertManager, and the cluster has no cert-manager",
            )?;
            let issuer = wanted.tls.issuer_ref.clone().unwrap_or_default();
            Tls::CertManager {
                issuer: issuer.name,
                kind: issuer.kind,
            }
        }
    };
    Ok(match wanted.kind {
        ExposureType::None => Exposure::None,
        ExposureType::Ingress => Exposure::Ingress {
            class: wanted.ingress.class_name.clone(),
            annotations: annotations(&wanted.ingress.annotations)?,
            tls,
        },
        ExposureType::Gateway => {
            need(
                facts,
                Api::HttpRoute,
                "GatewayApiMissing",
                "spec.exposure.type is Gateway, and the cluster has no Gateway API",
            )?;
            let parents = &wanted.gateway.parent_refs;
            if parents.is_empty() {
                return Err(Invalid::new(
                    "NoGateway",
                    "spec.exposure.gateway.parentRefs names no Gateway".into(),
                ));
            }
            Exposure::Gateway {
                parents: parents
                    .iter()
                    .map(|parent| (parent.name.clone(), parent.section_name.clone()))
                    .collect(),
                tls,
            }
        }
    })
}

/// The API server checks the same; an older definition may not have.
fn annotations(all: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Invalid> {
    for (key, value) in all {
        if key.to_ascii_lowercase().contains("snippet") || value.contains(['\r', '\n']) {
            return Err(Invalid::new(
                "AnnotationNotAllowed",
                format!("spec.exposure.ingress.annotations: `{key}` could run in a shared NGINX"),
            ));
        }
        if key == "kubernetes.io/ingress.class" {
            return Err(Invalid::new(
                "ClassByAnnotation",
                format!("spec.exposure.ingress.annotations: use className in place of `{key}`"),
            ));
        }
    }
    Ok(all.clone())
}

fn parts(images: &Images<'_>, facts: &Facts) -> Result<BTreeMap<Part, Workload>, Invalid> {
    let services = &images.spec.services;
    Part::ALL
        .into_iter()
        .map(|part| {
            let component = match part {
                Part::Service(Service::Auth) => &services.auth,
                Part::Service(Service::Users) => &services.users,
                Part::Service(Service::Messages) => &services.messages,
                Part::Service(Service::Notifications) => &services.notifications,
                Part::Service(Service::SocketHandler) => &services.socket_handler.component,
                Part::Web => &services.web,
            };
            Ok((part, workload(part, component, images, facts)?))
        })
        .collect()
}

fn workload(
    part: Part,
    component: &Component,
    images: &Images<'_>,
    facts: &Facts,
) -> Result<Workload, Invalid> {
    let spec = images.spec;
    let field = format!("services.{}", part.field());
    let autoscaling = component.autoscaling.clone();
    if autoscaling.min > autoscaling.max {
        return Err(Invalid::new(
            "AutoscalingRange",
            format!(
                "spec.{field}.autoscaling: min, {}, is above max, {}",
                autoscaling.min, autoscaling.max
            ),
        ));
    }
    if autoscaling.kind == AutoscalingType::Keda {
        need(
            facts,
            Api::Keda,
            "KedaMissing",
            &format!("spec.{field}.autoscaling.type is Keda, and the cluster has no KEDA"),
        )?;
    }
    let replicas = component
        .replicas
        .unwrap_or_else(|| sizing::replicas(spec.size));
    Ok(Workload {
        image: images.part(part, &component.image)?,
        replicas: match autoscaling.kind {
            _ if spec.stopped => Some(0),
            AutoscalingType::None => Some(replicas),
            AutoscalingType::Hpa | AutoscalingType::Keda => None,
        },
        resources: sizing::resources(
            &format!("{field}.resources"),
            component.resources.as_ref(),
            &sizing::part(spec.size, part),
        )?,
        env: env::checked(part, &component.env)?,
        log_level: component.log_level.clone(),
        autoscaling,
        overrides: overrides::parse(
            &format!("{field}.podOverrides"),
            &component.pod_overrides,
            deployment::grace(part, spec.services.socket_handler.drain_seconds),
        )?,
    })
}

fn postgres(chat: &ChatCluster, images: &Images<'_>, facts: &Facts) -> Result<Postgres, Invalid> {
    let wanted = &chat.spec.postgres;
    Ok(match wanted.mode {
        StoreMode::Managed => {
            let own = wanted.managed.clone().unwrap_or_default();
            let default = &images.defaults.postgres_image;
            let preset = sizing::postgres(chat.spec.size);
            Postgres::Managed(managed("postgres", &own, images, default, &preset)?)
        }
        StoreMode::Delegated => {
            let api = Api::CloudNativePg;
            let text = "spec.postgres.mode is Delegated, and the cluster has no CloudNativePG";
            need(facts, api, "BackingStoreUnavailable", text)?;
            let own = wanted.delegated.clone().unwrap_or_default();
            let image = match own.image.as_str() {
                "" => None,
                image => Some(images.checked("postgres.delegated.image", image)?),
            };
            Postgres::Delegated {
                instances: own.instances,
                storage: sizing::storage("postgres.delegated.storage", &own.storage)?,
                image,
                ready: ready(facts, "postgres"),
            }
        }
        StoreMode::External => {
            let external = wanted
                .external
                .as_ref()
                .ok_or_else(|| no_secret("postgres"))?;
            Postgres::External(secrets::postgres(&chat.name_any(), external, facts)?)
        }
    })
}

fn rabbitmq(images: &Images<'_>, facts: &Facts) -> Result<Rabbitmq, Invalid> {
    let wanted = &images.spec.rabbitmq;
    Ok(match wanted.mode {
        StoreMode::Managed => {
            let own = wanted.managed.clone().unwrap_or_default();
            let default = &images.defaults.rabbitmq_image;
            let preset = sizing::rabbitmq(images.spec.size);
            Rabbitmq::Managed(managed("rabbitmq", &own, images, default, &preset)?)
        }
        StoreMode::Delegated => {
            let api = Api::RabbitmqCluster;
            let text =
                "spec.rabbitmq.mode is Delegated, and the cluster has no RabbitMQ cluster operator";
            need(facts, api, "BackingStoreUnavailable", text)?;
            let own = wanted.delegated.clone().unwrap_or_default();
            Rabbitmq::Delegated {
                replicas: own.replicas,
                storage: sizing::storage("rabbitmq.delegated.storage", &own.storage)?,
                ready: ready(facts, "rabbitmq"),
            }
        }
        StoreMode::External => {
            let external = wanted
                .external
                .as_ref()
                .ok_or_else(|| no_secret("rabbitmq"))?;
            Rabbitmq::External(secrets::rabbitmq(external, facts)?)
        }
    })
}

fn redis(images: &Images<'_>, facts: &Facts) -> Result<Redis, Invalid> {
    let wanted = &images.spec.redis;
    Ok(match wanted.mode {
        RedisMode::Managed => {
            let own = wanted.managed.clone().unwrap_or_default();
            let default = &images.defaults.redis_image;
            let preset = sizing::redis(images.spec.size);
            Redis::Managed(managed("redis", &own, images, default, &preset)?)
        }
        RedisMode::External => {
            let external = wanted.external.as_ref().ok_or_else(|| no_secret("redis"))?;
            Redis::External(secrets::redis(external, facts)?)
        }
    })
}

fn managed(
    store: &str,
    own: &ManagedStore,
    images: &Images<'_>,
    default_image: &str,
    preset: &sizing::Preset,
) -> Result<Managed, Invalid> {
    let fits = match store {
        "rabbitmq" => matches!(own.replicas, 1 | 3),
        _ => own.replicas == 1,
    };
    if !fits {
        return Err(Invalid::new(
            "StoreReplicas",
            format!("spec.{store}.managed.replicas cannot be {}", own.replicas),
        ));
    }
    Ok(Managed {
        image: images.store(store, &own.image, default_image)?,
        replicas: own.replicas,
        storage: sizing::storage(&format!("{store}.managed.storage"), &own.storage)?,
        storage_class: Some(own.storage_class_name.clone()).filter(|class| !class.is_empty()),
        resources: sizing::resources(
            &format!("{store}.managed.resources"),
            own.resources.as_ref(),
            preset,
        )?,
    })
}

fn ready(facts: &Facts, store: &str) -> bool {
    facts.delegated.get(store).is_some_and(|it| it.ready)
}

fn no_secret(store: &str) -> Invalid {
    Invalid::new(
        "SecretNotNamed",
        format!("spec.{store}.external.secretRef.name is needed in mode External"),
    )
}

fn need(facts: &Facts, api: Api, reason: &'static str, message: &str) -> Result<(), Invalid> {
    if facts.apis.contains(&api) {
        return Ok(());
    }
    Err(Invalid::new(reason, message.to_owned()))
}
