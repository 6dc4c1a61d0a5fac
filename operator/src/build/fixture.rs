//! A ChatCluster for the tests of the builders, and the comparison of what they
//! build with files. `UPDATE_SNAPSHOTS=1` writes the files anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use chat_events::Service;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};
use similar::TextDiff;

use crate::crd::Scheduling;
use crate::credentials::Credentials;
use crate::resources::Resources;
use crate::validate::{Exposure, Login, Managed, Postgres, Rabbitmq, Redis, Tls, Validated};

pub fn chat() -> Validated {
    Validated {
        name: "demo".into(),
        namespace: "chats".into(),
        owner: OwnerReference {
            api_version: "chatcluster.io/v1alpha1".into(),
            kind: "ChatCluster".into(),
            name: "demo".into(),
            uid: "uid-of-demo".into(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        },
        host: "chat.example.com".into(),
        origin: "https://chat.example.com".into(),
        version: "1.0.0".into(),
        pull_secrets: Vec::new(),
        stopped: false,
        delete_data: false,
        parts: BTreeMap::new(),
        drain_seconds: 25,
        max_connections_per_pod: 20_000,
        exposure: Exposure::Ingress {
            class: "nginx".into(),
            annotations: BTreeMap::new(),
            tls: Tls::Disabled,
        },
        postgres: Postgres::Managed(managed("postgres:17", 1)),
        rabbitmq: Rabbitmq::Managed(managed("rabbitmq:4", 1)),
        redis: Redis::Managed(managed("redis:7", 1)),
        credentials: credentials(),
        network_policy: true,
        service_monitor: false,
        otlp_endpoint: None,
        scheduling: Scheduling::default(),
        migrated: Service::ALL.to_vec(),
    }
}

/// After so many steps of a change of passwords.
pub fn after(steps: i64) -> Validated {
    let mut chat = chat();
    for step in 0..steps {
        let now = Timestamp::from_second(step * 1_000).expect("a second");
        let stepped = chat
            .credentials
            .with_new_passwords(Some("1"), Some(Duration::ZERO), now);
        chat.credentials = stepped.expect("random numbers");
    }
    chat
}

pub fn managed(image: &str, replicas: i32) -> Managed {
    Managed {
        image: image.into(),
        replicas,
        storage: "5Gi".into(),
        storage_class: None,
        resources: ResourceRequirements {
            limits: Some([("memory".to_owned(), Quantity("512Mi".into()))].into()),
            ..ResourceRequirements::default()
        },
    }
}

pub fn external(host: &str, port: u16) -> Login {
    Login {
        host: host.into(),
        port,
        user: "chat".into(),
        password: ("theirs".into(), "password".into()),
        place: "place".into(),
        content_hash: "hash".into(),
    }
}

fn credentials() -> Credentials {
    Credentials {
        services: Service::ALL
            .map(|it| (it.name().to_owned(), format!("password-of-{}", it.name())))
            .into(),
        postgres: "password-of-postgres".into(),
        rabbitmq: "password-of-rabbitmq".into(),
        erlang_cookie: "cookie".into(),
        redis: "password-of-redis".into(),
        jwt_key: "key".into(),
        ..Credentials::default()
    }
}

/// Compares all that was built, whole, with `snapshots/<name>.yaml`.
pub fn assert_built(out: &Resources, name: &str) {
    let built = serde_yaml::to_string(&objects(out)).expect("objects are YAML");
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/build/snapshots")
        .join(format!("{name}.yaml"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, &built).expect("the snapshot can be written");
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let diff = TextDiff::from_lines(&expected, &built);
    let diff = diff.unified_diff().header(name, "built").to_string();
    assert!(diff.is_empty(), "{diff}UPDATE_SNAPSHOTS=1 accepts it");
}

fn objects(out: &Resources) -> Vec<Value> {
    let config_maps = out.config_maps.iter().cloned().map(|mut it| {
        // Scripts stand in files of their own.
        for (name, content) in it.data.iter_mut().flatten() {
            if name.ends_with(".sh") || name.ends_with(".sql") {
                "(script)".clone_into(content);
            }
        }
        json!(it)
    });
    let secrets = out.secrets.iter().map(|it| {
        let mut readable = json!(it);
        for (name, content) in it.data.iter().flatten() {
            readable["data"][name] = String::from_utf8_lossy(&content.0).into();
        }
        readable
    });
    config_maps
        .chain(secrets)
        .chain(out.network_policies.iter().map(|it| json!(it)))
        .chain(out.services.iter().map(|it| json!(it)))
        .chain(out.stateful_sets.iter().map(|it| json!(it)))
        .chain(out.pod_disruption_budgets.iter().map(|it| json!(it)))
        .chain(out.foreign.iter().map(|it| json!(it)))
        .collect()
}
