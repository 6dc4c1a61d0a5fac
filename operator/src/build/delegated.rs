//! Stores that another operator runs for us: CloudNativePG and the RabbitMQ cluster
//! operator. Their kinds are built without types and with the fewest fields, as
//! typed copies of foreign kinds grow stale.

use chat_events::{Service, rights};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::foreign::object;
use super::{meta, postgres, rabbitmq, secret};
use crate::resources::Resources;
use crate::validate::{Postgres, Rabbitmq, Validated};

/// Where a mounted Secret with users and rights is found.
const DEFINITIONS: &str = "/etc/chat/secrets";

pub fn build(chat: &Validated, out: &mut Resources) {
    if let Postgres::Delegated {
        instances,
        storage,
        image,
        ..
    } = &chat.postgres
    {
        cloud_native_pg(chat, *instances, storage, image.as_deref(), out);
    }
    if let Rabbitmq::Delegated {
        replicas, storage, ..
    } = &chat.rabbitmq
    {
        rabbitmq_cluster(chat, *replicas, storage, out);
    }
}

/// One `Cluster`, and for each service a role with a Secret of ours and a `Database`.
fn cloud_native_pg(
    chat: &Validated,
    instances: i32,
    storage: &str,
    image: Option<&str>,
    out: &mut Resources,
) {
    let suffix = |service: Service| format!("-{}", service.name());
    let roles: Vec<Value> = postgres::users()
        .map(|service| {
            json!({
                "name": rights::role(&chat.name, service),
                "login": true,
                "passwordSecret": { "name": meta::name(chat, &format!("postgres{}", suffix(service))) },
            })
        })
        .collect();
    let mut spec = json!({
        "instances": instances,
        "storage": { "size": storage },
        "managed": { "roles": roles },
    });
    if let Some(image) = image {
        spec["imageName"] = image.into();
    }
    let mut metadata = meta::data(chat, postgres::PART, "");
    if chat.stopped {
        let hibernate = ("cnpg.io/hibernation".to_owned(), "on".to_owned());
        metadata
            .annotations
            .get_or_insert_default()
            .extend([hibernate]);
    }
    let group = "postgresql.cnpg.io/v1";
    out.foreign.push(object(group, "Cluster", metadata, spec));
    for service in postgres::users() {
        let role = rights::role(&chat.name, service);
        out.secrets.push(role_secret(chat, service, &role));
        let spec = json!({
            "cluster": { "name": meta::name(chat, postgres::PART) },
            "name": role,
            "owner": role,
        });
        let metadata = meta::data(chat, postgres::PART, &suffix(service));
        out.foreign.push(object(group, "Database", metadata, spec));
    }
}

fn role_secret(chat: &Validated, service: Service, role: &str) -> Secret {
    let mut metadata = meta::data(chat, postgres::PART, &format!("-{}", service.name()));
    // CloudNativePG then follows a changed password at once.
    let reload = ("cnpg.io/reload".to_owned(), "true".to_owned());
    metadata.labels.get_or_insert_default().extend([reload]);
    Secret {
        metadata,
        type_: Some("kubernetes.io/basic-auth".into()),
        data: Some(secret::data([
            ("username", role),
            ("password", chat.credentials.of(service)),
        ])),
        ..Secret::default()
    }
}

/// One `RabbitmqCluster` that loads our virtual host, users and rights at its start,
/// by the override that its operator has for that.
fn rabbitmq_cluster(chat: &Validated, replicas: i32, storage: &str, out: &mut Resources) {
    let logins = Service::ALL.map(|service| {
        let name = rights::role(&chat.name, service);
        (service, name, chat.credentials.of(service).to_owned())
    });
    let definitions = rabbitmq::definitions(chat, logins).to_string();
    out.secrets.push(Secret {
        metadata: meta::object(chat, rabbitmq::PART, ""),
        data: Some(secret::data([("definitions.json", definitions.as_str())])),
        ..Secret::default()
    });
    let template = json!({
        "metadata": { "annotations": { meta::CONTENT: meta::hash(&definitions) } },
        "spec": {
            "containers": [{
                "name": "rabbitmq",
                "volumeMounts": [{ "name": "definitions", "mountPath": DEFINITIONS, "readOnly": true }],
            }],
            "volumes": [{
                "name": "definitions",
                "secret": { "secretName": meta::name(chat, rabbitmq::PART) },
            }],
        },
    });
    let mut spec = json!({
        "replicas": if chat.stopped { 0 } else { replicas },
        "persistence": { "storage": storage },
        "rabbitmq": {
            "additionalConfig": format!("load_definitions = {DEFINITIONS}/definitions.json\n"),
        },
        "override": { "statefulSet": { "spec": { "template": template } } },
    });
    if replicas == 1 {
        // It waits for peers, and there are none.
        spec["delayStartSeconds"] = 0.into();
    }
    let metadata = meta::data(chat, rabbitmq::PART, "");
    let version = "rabbitmq.com/v1beta1";
    out.foreign
        .push(object(version, "RabbitmqCluster", metadata, spec));
}

#[cfg(test)]
mod tests;
