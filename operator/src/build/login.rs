//! Where each service logs in, whoever runs the store.

use chat_events::{Service, rights};

use super::{meta, postgres, rabbitmq, redis};
use crate::validate::{Login, Postgres, Rabbitmq, Redis, Validated};

/// Settings, and keys of the Secret `<chat>-<service>`.
pub const DB_PASSWORD: &str = "DB_PASSWORD";
pub const RMQ_PASSWORD: &str = "RMQ_PASSWORD";
pub const REDIS_PASSWORD: &str = "REDIS_PASSWORD";

pub fn database(chat: &Validated, service: Service) -> Option<Login> {
    let ours = |host| Login {
        place: rights::role(&chat.name, service),
        ..generated(chat, service, host, postgres::PORT, DB_PASSWORD)
    };
    service.has_database().then(|| match &chat.postgres {
        Postgres::Managed(_) => Some(ours(meta::name(chat, postgres::PART))),
        // The Service that CloudNativePG keeps pointed at the primary.
        Postgres::Delegated { .. } => Some(ours(meta::name(chat, "postgres-rw"))),
        Postgres::External(logins) => logins.get(&service).cloned(),
    })?
}

pub fn broker(chat: &Validated, service: Service) -> Login {
    match &chat.rabbitmq {
        // The RabbitMQ cluster operator names its Service like the cluster.
        Rabbitmq::Managed(_) | Rabbitmq::Delegated { .. } => Login {
            place: chat.name.clone(),
            ..generated(
                chat,
                service,
                meta::name(chat, rabbitmq::PART),
                rabbitmq::PORT,
                RMQ_PASSWORD,
            )
        },
        Rabbitmq::External(login) => login.clone(),
    }
}

pub fn cache(chat: &Validated, service: Service) -> Option<Login> {
    redis::users()
        .any(|user| user == service)
        .then(|| match &chat.redis {
            Redis::Managed(_) => {
                let host = meta::name(chat, redis::PART);
                generated(chat, service, host, redis::PORT, REDIS_PASSWORD)
            }
            Redis::External(login) => login.clone(),
        })
}

fn generated(
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
