use chat_events::Service;

use super::{build, files};
use crate::build::fixture::{assert_built, chat, external};
use crate::credentials::Stage;
use crate::resources::Resources;
use crate::validate::{Postgres, Rabbitmq, Redis, Validated};

fn settings(chat: &Validated, service: Service) -> Vec<(&'static str, String)> {
    files(chat, service)
        .into_iter()
        .map(|file| (file.setting, format!("{}/{}", file.source.0, file.source.1)))
        .collect()
}

#[test]
fn secrets_outlive_a_chat_whose_data_is_retained() {
    let mut out = Resources::default();
    build(&chat(), &mut out);
    assert_built(&out, "secrets");
}

#[test]
fn a_key_that_changes_is_kept_with_its_stage() {
    let mut chat = chat();
    chat.delete_data = true;
    chat.credentials.jwt_key_previous = Some("new".into());
    chat.credentials.rotation.stage = Stage::Announced;
    chat.credentials.rotation.heard = Some("2026-11".into());
    let mut out = Resources::default();
    build(&chat, &mut out);
    assert_built(&out, "secrets-rotating");
}

#[test]
fn a_service_mounts_what_it_needs_alone() {
    let chat = chat();
    let path = |key: &str| (format!("demo-auth/{key}"), format!("demo-jwt/{key}"));
    assert_eq!(
        settings(&chat, Service::Auth),
        [
            ("DB_PASSWORD", path("DB_PASSWORD").0),
            ("RMQ_PASSWORD", path("RMQ_PASSWORD").0),
            ("JWT_KEY", path("JWT_KEY").1),
        ]
    );
    let names = settings(&chat, Service::SocketHandler)
        .into_iter()
        .map(|(setting, _)| setting);
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["RMQ_PASSWORD", "REDIS_PASSWORD"]
    );
}

#[test]
fn passwords_of_external_stores_are_mounted_where_they_are() {
    let mut chat = chat();
    let login = external("db.example.com", 5432);
    let with_database = Service::ALL.into_iter().filter(|it| it.has_database());
    chat.postgres = Postgres::External(with_database.map(|it| (it, login.clone())).collect());
    chat.rabbitmq = Rabbitmq::External(login.clone());
    chat.redis = Redis::External(login);
    let theirs = "theirs/password".to_owned();
    assert_eq!(
        settings(&chat, Service::Users),
        [
            ("DB_PASSWORD", theirs.clone()),
            ("RMQ_PASSWORD", theirs.clone()),
            ("REDIS_PASSWORD", theirs)
        ]
    );
    let mut out = Resources::default();
    build(&chat, &mut out);
    let names = out.secrets.iter().map(|it| it.metadata.name.as_deref());
    assert_eq!(
        names.collect::<Vec<_>>(),
        [Some("demo-credentials"), Some("demo-jwt")]
    );
}
