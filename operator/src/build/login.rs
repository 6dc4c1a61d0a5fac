//! Where each service logs in, whoever runs the store.

use chat_events::{Service, rights};

use super::{meta, postgres, rabbitmq, redis};
use crate::credentials::Turn;
use crate::validate::{Login, Postgres, Rabbitmq, Redis, Validated};

/// Settings, and keys of the Secret `<chat>-<service>` for delegated stores.
pub const DB_PASSWORD: &str = "DB_PASSWORD";
pub const RMQ_PASSWORD: &str = "RMQ_PASSWORD";
pub const REDIS_PASSWORD: &str = "REDIS_PASSWORD";

/// One of the two logins of a service in managed stores. The first is the role that
/// owns the database.
pub fn name(chat: &Validated, service: Service, turn: Turn) -> String {
    let role = rights::role(&chat.name, service);
    match turn {
        Turn::First => role,
        Turn::Second => format!("{role}_2"),
    }
}

/// Keys of the Secret `<chat>-<service>`: each login has its own, so that a pod made
/// from an older template still finds the login that it was made for.
pub fn user_key(turn: Turn) -> String {
    format!("user-{}", turn.number())
}

pub fn password_key(turn: Turn) -> String {
    format!("password-{}", turn.number())
}

pub fn database(chat: &Validated, service: Service) -> Option<Login> {
    let ours = |login| Login {
        place: rights::role(&chat.name, service),
        ..login
    };
    service.has_database().then(|| match &chat.postgres {
        Postgres::Managed(_) => Some(ours(managed(chat, service, postgres::PART, postgres::PORT))),
        // The Service that CloudNativePG keeps pointed at the primary.
        Postgres::Delegated { .. } => {
            let host = meta::name(chat, "postgres-rw");
            Some(ours(delegated(
                chat,
                service,
                host,
                postgres::PORT,
                DB_PASSWORD,
            )))
        }
        Postgres::External(logins) => logins.get(&service).cloned(),
    })?
}

pub fn broker(chat: &Validated, service: Service) -> Login {
    let ours = |login| Login {
        place: chat.name.clone(),
        ..login
    };
    match &chat.rabbitmq {
        Rabbitmq::Managed(_) => ours(managed(chat, service, rabbitmq::PART, rabbitmq::PORT)),
        // The RabbitMQ cluster operator names its Service like the cluster.
        Rabbitmq::Delegated { .. } => {
            let host = meta::name(chat, rabbitmq::PART);
            ours(delegated(chat, service, host, rabbitmq::PORT, RMQ_PASSWORD))
        }
        Rabbitmq::External(login) => login.clone(),
    }
}

pub fn cache(chat: &Validated, service: Service) -> Option<Login> {
    redis::users()
        .any(|user| user == service)
        .then(|| match &chat.redis {
            Redis::Managed(_) => managed(chat, service, redis::PART, redis::PORT),
            Redis::External(login) => login.clone(),
        })
}

fn managed(chat: &Validated, service: Service, part: &str, port: u16) -> Login {
    let used = chat.credentials.passwords.used;
    Login {
        host: meta::name(chat, part),
        port,
        user: name(chat, service, used),
        password: (meta::name(chat, service.name()), password_key(used)),
        place: String::new(),
        content_hash: meta::hash(&chat.credentials.password(service, used)),
    }
}

fn delegated(
    chat: &Validated,
    service: Service,
    host: String,
    port: u16,
    key: &'static str,
) -> Login {
    Login {
        host,
        port,
        user: rights::role(&chat.name, service),
        password: (meta::name(chat, service.name()), key.to_owned()),
        place: String::new(),
        content_hash: meta::hash(&chat.credentials.of(service)),
    }
}
