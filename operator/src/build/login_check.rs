//! Trying who may log in while passwords change: one Job for each store of ours, which
//! ends when the store lets in and refuses whom it should.

use chat_events::{Service, rights};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::store::{CONFIG, RUN, SECRETS, env, mounts, small, volumes, words};
use super::{login, meta, pod, postgres, rabbitmq, redis, secret};
use crate::credentials::{PasswordStage, Turn};
use crate::resources::Resources;
use crate::validate::{Managed, Overrides, Postgres, Rabbitmq, Redis, Validated};

/// The component of its pods.
pub const PART: &str = "logins";
/// The script itself tries until it succeeds; this many of its pods may be evicted.
const TRIES: i32 = 10;

/// A store that we run.
pub struct Checked<'a> {
    part: &'static str,
    port: u16,
    managed: &'a Managed,
    services: Vec<Service>,
}

pub fn build(chat: &Validated, out: &mut Resources) {
    if !is_due(chat) {
        return;
    }
    for store in stores(chat) {
        let name = name(chat, &store);
        let named = |mut metadata: ObjectMeta| {
            metadata.name = Some(name.clone());
            metadata
        };
        let [accepted, refused] = logins(chat, &store);
        out.secrets.push(Secret {
            metadata: named(meta::object(chat, PART, "")),
            data: Some(secret::data([
                ("accepted", accepted.as_str()),
                ("refused", refused.as_str()),
            ])),
            ..Secret::default()
        });
        out.jobs.push(Job {
            metadata: named(meta::object(chat, PART, "")),
            spec: Some(JobSpec {
                backoff_limit: Some(TRIES),
                completions: Some(1),
                parallelism: Some(1),
                template: template(chat, &store, &name),
                ..JobSpec::default()
            }),
            ..Job::default()
        });
    }
}

/// The stores that we run.
pub fn stores(chat: &Validated) -> impl Iterator<Item = Checked<'_>> {
    let postgres = match &chat.postgres {
        Postgres::Managed(managed) => Some(Checked {
            part: postgres::PART,
            port: postgres::PORT,
            managed,
            services: postgres::users().collect(),
        }),
        _ => None,
    };
    let rabbitmq = match &chat.rabbitmq {
        Rabbitmq::Managed(managed) => Some(Checked {
            part: rabbitmq::PART,
            port: rabbitmq::PORT,
            managed,
            services: Service::ALL.into(),
        }),
        _ => None,
    };
    let redis = match &chat.redis {
        Redis::Managed(managed) => Some(Checked {
            part: redis::PART,
            port: redis::PORT,
            managed,
            services: redis::users().collect(),
        }),
        Redis::External(_) => None,
    };
    [postgres, rabbitmq, redis].into_iter().flatten()
}

/// The Jobs of the present stage.
pub fn names(chat: &Validated) -> Vec<String> {
    stores(chat).map(|store| name(chat, &store)).collect()
}

pub fn is_due(chat: &Validated) -> bool {
    let stage = chat.credentials.passwords.stage;
    !chat.stopped && matches!(stage, PasswordStage::Announced | PasswordStage::Withdrawn)
}

/// Another name for other logins, so that the end of a Job says whom it tried.
fn name(chat: &Validated, store: &Checked) -> String {
    let what = format!("{}-{PART}", store.part);
    // The Secret has the name that is sought here.
    let template = template(chat, store, "");
    meta::job(chat, &what, &(template, logins(chat, store)))
}

/// Those that are accepted and those that are refused, one a line: user, password and
/// database.
fn logins(chat: &Validated, store: &Checked) -> [String; 2] {
    let all = &chat.credentials;
    let mut lines = [String::new(), String::new()];
    for turn in Turn::BOTH {
        let refused = usize::from(!all.passwords.accepts(turn));
        for service in store.services.iter().copied() {
            let password = all.password(service, turn);
            // Before the first change there is no second one.
            if !password.is_empty() {
                let user = login::name(chat, service, turn);
                let database = rights::role(&chat.name, service);
                lines[refused] += &format!("{user} {password} {database}\n");
            }
        }
    }
    lines
}

fn template(chat: &Validated, store: &Checked, secret: &str) -> PodTemplateSpec {
    let name = meta::name(chat, store.part);
    let container = Container {
        name: PART.into(),
        image: Some(store.managed.image.clone()),
        command: Some(words(&["/bin/sh", "/etc/chat/config/check.sh"])),
        env: Some(vec![
            env("CONFIG", CONFIG),
            env("SECRETS", SECRETS),
            env("HOME", RUN),
            env("STORE_HOST", name.clone()),
            env("STORE_PORT", store.port.to_string()),
            env("CHAT", &chat.name),
        ]),
        resources: Some(small()),
        volume_mounts: Some(mounts(&[])),
        ..Container::default()
    };
    let mut spec = PodSpec {
        restart_policy: Some("OnFailure".into()),
        volumes: Some(volumes(&name, secret)),
        containers: vec![container],
        ..PodSpec::default()
    };
    pod::schedule(chat, PART, false, &Overrides::default(), &mut spec);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(meta::labels(chat, PART)),
            ..ObjectMeta::default()
        }),
        spec: Some(pod::harden(chat, spec)),
    }
}

#[cfg(test)]
mod tests;
