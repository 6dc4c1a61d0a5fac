use std::collections::BTreeSet;

use chat_events::Service;

use super::{build, files};
use crate::build::fixture::{after, assert_built, chat, external};
use crate::build::login;
use crate::build::settings::serve;
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
    let password = || "demo-auth/password-1".to_owned();
    assert_eq!(
        settings(&chat, Service::Auth),
        [
            ("DB_PASSWORD", password()),
            ("RMQ_PASSWORD", password()),
            ("JWT_KEY", "demo-jwt/JWT_KEY".to_owned()),
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
fn pods_of_every_stage_find_the_login_that_they_were_made_for() {
    let keys = |chat: &Validated| {
        let mut out = Resources::default();
        build(chat, &mut out);
        let of_users = out
            .secrets
            .into_iter()
            .find(|it| it.metadata.name.as_deref() == Some("demo-users"));
        let data = of_users.and_then(|it| it.data).expect("data");
        data.into_keys().collect::<Vec<_>>()
    };
    let mounts = |chat: &Validated| {
        let files = serve(chat, Service::Users).files.into_iter();
        let keys = files.filter(|it| it.source.0 == "demo-users");
        keys.map(|it| it.source.1).collect::<BTreeSet<_>>()
    };
    let (first, second) = (["password-1", "user-1"], ["password-2", "user-2"]);
    let both = ["password-1", "password-2", "user-1", "user-2"];
    let expected: [(&[&str], [&str; 2]); 6] = [
        (&first, first),
        (&both, first),
        (&both, second),
        (&both, second),
        (&second, second),
        (&second, second),
    ];
    for (step, (held, mounted)) in (0..).zip(expected) {
        let chat = after(step);
        assert_eq!(keys(&chat), held, "step {step}");
        assert_eq!(mounts(&chat), mounted.map(str::to_owned).into());
    }
}

#[test]
fn a_delegated_store_keeps_its_passwords() {
    let delegated = |mut chat: Validated| {
        chat.rabbitmq = Rabbitmq::Delegated {
            replicas: 3,
            storage: "10Gi".into(),
            ready: true,
        };
        let login = login::broker(&chat, Service::Users);
        let mut out = Resources::default();
        build(&chat, &mut out);
        crate::build::delegated::build(&chat, &mut out);
        let held: Vec<_> = out
            .secrets
            .into_iter()
            .filter_map(|it| it.data?.remove(&login.password.1))
            .collect();
        assert_eq!(held.len(), 5);
        (login.user, login.password, held, out.foreign)
    };
    assert_eq!(delegated(after(0)), delegated(after(3)));
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
