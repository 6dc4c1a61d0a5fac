//! Bringing databases up to date: one Job for each service and image, before the
//! pods that need it.

use chat_events::Service;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{meta, pod, settings};
use crate::resources::Resources;
use crate::validate::{Part, Validated};

/// Tries before a migration counts as failed, which takes two and a half minutes. Each
/// one waits two minutes for a database that is not there.
const TRIES: i32 = 4;

pub fn build(chat: &Validated, out: &mut Resources) {
    // Without a database there is nothing to bring up to date.
    if chat.stopped {
        return;
    }
    out.jobs.extend(
        Service::ALL
            .into_iter()
            .filter_map(|service| job(chat, service)),
    );
}

pub fn name(chat: &Validated, service: Service) -> String {
    let what = format!("{}-migrate", service.name());
    meta::job(chat, &what, &template(chat, service))
}

fn job(chat: &Validated, service: Service) -> Option<Job> {
    let template = template(chat, service)?;
    let mut metadata = meta::object(chat, &meta::migration(service), "");
    metadata.name = Some(name(chat, service));
    Some(Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(TRIES),
            completions: Some(1),
            parallelism: Some(1),
            template,
            ..JobSpec::default()
        }),
        ..Job::default()
    })
}

fn template(chat: &Validated, service: Service) -> Option<PodTemplateSpec> {
    if !service.has_database() {
        return None;
    }
    let workload = chat.parts.get(&Part::Service(service))?;
    let settings = settings::migrate(chat, service);
    let env = settings.plain.into_iter().map(|(name, value)| EnvVar {
        name,
        value: Some(value),
        value_from: None,
    });
    let mut container = Container {
        name: "migrate".into(),
        image: Some(workload.image.clone()),
        args: Some(vec!["migrate".into()]),
        env: Some(env.collect()),
        resources: Some(workload.resources.clone()),
        ..Container::default()
    };
    let part = meta::migration(service);
    let mut spec = PodSpec {
        restart_policy: Some("OnFailure".into()),
        service_account_name: Some(meta::name(chat, service.name())),
        ..PodSpec::default()
    };
    pod::mount_secrets(&settings.files, &mut spec, &mut container);
    spec.containers.push(container);
    pod::schedule(chat, &part, false, &workload.overrides, &mut spec);
    Some(PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(meta::labels(chat, &part)),
            ..ObjectMeta::default()
        }),
        spec: Some(pod::harden(chat, spec)),
    })
}
