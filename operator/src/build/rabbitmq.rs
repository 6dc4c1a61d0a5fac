//! RabbitMQ in one pod, or in a cluster of three: a virtual host, and in it a user
//! for each service.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chat_events::{Service, topology};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector};
use serde_json::{Value, json};

use super::store::{CONFIG, DATA, RUN, SECRETS, Store, connect, env, exec};
use super::{login, meta};
use crate::credentials::Turn;
use crate::resources::Resources;
use crate::validate::{Managed, Rabbitmq, Validated};

pub const PART: &str = "rabbitmq";
pub const PORT: u16 = 5672;
pub const METRICS_PORT: u16 = 15_692;
/// The ports by which the nodes of a cluster talk to each other.
pub const EPMD_PORT: u16 = 4369;
pub const NODES_PORT: u16 = 25_672;

pub fn build(chat: &Validated, out: &mut Resources) {
    if let Rabbitmq::Managed(managed) = &chat.rabbitmq {
        store(chat, managed).build(chat, out);
    }
}

/// What a broker loads: the virtual host, its users and their rights. `logins` are those
/// of the services: whose, the name and the password.
pub fn definitions(
    chat: &Validated,
    logins: impl IntoIterator<Item = (Service, String, String)>,
) -> Value {
    let mut users = vec![user("admin", &chat.credentials.rabbitmq, "administrator")];
    let mut permissions = vec![permission(&chat.name, "admin", [".*", ".*", ".*"])];
    for (service, name, password) in logins {
        users.push(user(&name, &password, ""));
        let rights = topology::permissions(service);
        let rights = rights.each_ref().map(String::as_str);
        permissions.push(permission(&chat.name, &name, rights));
    }
    json!({
        "vhosts": [{ "name": chat.name, "default_queue_type": "quorum" }],
        "users": users,
        "permissions": permissions,
    })
}

/// What is accepted as definitions, and the names of what is refused.
fn logins(chat: &Validated) -> Vec<(String, String)> {
    let passwords = &chat.credentials.passwords;
    let (accepted, refused): (Vec<_>, Vec<_>) = Turn::BOTH
        .into_iter()
        .flat_map(|turn| Service::ALL.map(|service| (service, turn)))
        .partition(|(_, turn)| passwords.accepts(*turn));
    let accepted = accepted.into_iter().map(|(service, turn)| {
        let password = chat.credentials.password(service, turn).to_owned();
        (service, login::name(chat, service, turn), password)
    });
    let refused = refused.into_iter();
    let refused = refused.map(|(service, turn)| login::name(chat, service, turn) + "\n");
    vec![
        (
            "definitions.json".into(),
            definitions(chat, accepted).to_string(),
        ),
        ("refused".into(), refused.collect()),
    ]
}

fn user(name: &str, password: &str, tags: &str) -> Value {
    json!({
        "name": name,
        "password_hash": password_hash(salt(name), password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": tags,
    })
}

fn permission(vhost: &str, user: &str, [configure, write, read]: [&str; 3]) -> Value {
    json!({ "vhost": vhost, "user": user, "configure": configure, "write": write, "read": read })
}

/// From the name, so that the same password always looks the same.
fn salt(name: &str) -> [u8; 4] {
    let hash = digest(&SHA256, name.as_bytes());
    [0, 1, 2, 3].map(|it| hash.as_ref()[it])
}

/// RabbitMQ's own form: the salt, then the hash of salt and password.
fn password_hash(salt: [u8; 4], password: &str) -> String {
    let hash = digest(&SHA256, &[&salt, password.as_bytes()].concat());
    BASE64_STANDARD.encode([&salt, hash.as_ref()].concat())
}

fn store<'a>(chat: &Validated, managed: &'a Managed) -> Store<'a> {
    let node = |pod: &str| {
        let nodes = meta::name(chat, "rabbitmq-nodes");
        format!("rabbit@{pod}.{nodes}.{}.svc", chat.namespace)
    };
    let pod = |number| meta::name(chat, &format!("{PART}-{number}"));
    Store {
        part: PART,
        managed,
        command: &["/bin/sh", "/etc/chat/config/start.sh"],
        env: vec![
            pod_name(),
            env("CONFIG", CONFIG),
            env("SECRETS", SECRETS),
            env("HOME", RUN),
            env("NODES", managed.replicas.to_string()),
            env("FIRST_NODE", node(&pod(0))),
            env("RABBITMQ_NODENAME", node("$(POD_NAME)")),
            env("RABBITMQ_USE_LONGNAME", "true"),
            // The script then becomes the server, which so hears its signals.
            env("RUNNING_UNDER_SYSTEMD", "true"),
            env("RABBITMQ_CONF_ENV_FILE", "/dev/null"),
            env("RABBITMQ_CONFIG_FILE", format!("{CONFIG}/rabbitmq.conf")),
            env(
                "RABBITMQ_ADVANCED_CONFIG_FILE",
                format!("{CONFIG}/advanced.config"),
            ),
            env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                format!("{CONFIG}/enabled_plugins"),
            ),
            env("RABBITMQ_GENERATED_CONFIG_DIR", format!("{RUN}/config")),
            env("RABBITMQ_MNESIA_BASE", format!("{DATA}/rabbitmq")),
            env("RABBITMQ_LOG_BASE", RUN),
            env("RABBITMQ_LOGS", "-"),
            env("RABBITMQ_PID_FILE", format!("{RUN}/rabbitmq.pid")),
        ],
        config: vec![
            ("rabbitmq.conf", {
                let nodes = (0..managed.replicas).map(|it| node(&pod(it)));
                settings(&nodes.collect::<Vec<_>>())
            }),
            (
                "advanced.config",
                include_str!("scripts/rabbitmq/advanced.config").into(),
            ),
            ("enabled_plugins", "[rabbitmq_prometheus].\n".into()),
            ("start.sh", include_str!("scripts/rabbitmq/start.sh").into()),
            (
                "started.sh",
                include_str!("scripts/rabbitmq/started.sh").into(),
            ),
            ("alive.sh", include_str!("scripts/rabbitmq/alive.sh").into()),
            ("stop.sh", include_str!("scripts/rabbitmq/stop.sh").into()),
            (
                "logins.sh",
                include_str!("scripts/rabbitmq/logins.sh").into(),
            ),
            ("try.sh", include_str!("scripts/rabbitmq/try.sh").into()),
            (
                "try.escript",
                include_str!("scripts/rabbitmq/try.escript").into(),
            ),
            (
                "programs.sh",
                include_str!("scripts/rabbitmq/programs.sh").into(),
            ),
        ],
        secrets: vec![("erlang-cookie", chat.credentials.erlang_cookie.clone())],
        logins: logins(chat),
        ports: &[
            ("amqp", PORT as i32),
            ("metrics", METRICS_PORT as i32),
            ("epmd", EPMD_PORT as i32),
            ("nodes", NODES_PORT as i32),
        ],
        // Each command of RabbitMQ starts a virtual machine, so few of them.
        startup: exec(&["/bin/sh", "/etc/chat/config/started.sh"], 5, 30, 900),
        readiness: connect("amqp", 5, 15),
        liveness: exec(&["/bin/sh", "/etc/chat/config/alive.sh"], 60, 30, 180),
        before_stop: (managed.replicas > 1)
            .then_some(&["/bin/sh", "/etc/chat/config/stop.sh"] as &[_]),
        grace: 150,
    }
}

fn settings(nodes: &[String]) -> String {
    let mut settings = include_str!("scripts/rabbitmq/rabbitmq.conf").to_owned();
    if nodes.len() > 1 {
        settings.push_str(
            "cluster_partition_handling = pause_minority\n\
             cluster_formation.peer_discovery_backend = classic_config\n",
        );
        for (number, node) in (1..).zip(nodes) {
            settings += &format!("cluster_formation.classic_config.nodes.{number} = {node}\n");
        }
    }
    settings
}

fn pod_name() -> EnvVar {
    EnvVar {
        name: "POD_NAME".into(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "metadata.name".into(),
                // The server's own default: what is applied must be what is found.
                api_version: Some("v1".into()),
            }),
            ..EnvVarSource::default()
        }),
    }
}

#[cfg(test)]
mod tests;
