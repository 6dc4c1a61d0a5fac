use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::crd::{ChatCluster, MigrationResult};
use crate::facts::{Api, Facts};

fn chat(mut spec: Value) -> ChatCluster {
    if spec["host"].is_null() {
        spec["host"] = "chat.example.com".into();
    }
    let mut chat = ChatCluster::new("demo", serde_json::from_value(spec).expect("a spec"));
    chat.metadata.namespace = Some("chats".into());
    chat.metadata.uid = Some("uid".into());
    chat
}

fn defaults() -> Defaults {
    Defaults {
        version: "1.0.0".into(),
        images: "chatcluster".into(),
        postgres_image: "docker.io/library/postgres:17".into(),
        rabbitmq_image: "docker.io/library/rabbitmq:4.1".into(),
        redis_image: "docker.io/library/redis:7.4".into(),
        allowed_registries: Vec::new(),
    }
}

/// Secrets by name, each with text by key.
fn facts(secrets: Value) -> Facts {
    let secrets: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_value(secrets).expect("secrets");
    let bytes = |data: BTreeMap<String, String>| {
        data.into_iter()
            .map(|(key, value)| (key, value.into_bytes()))
            .collect()
    };
    Facts {
        secrets: secrets
            .into_iter()
            .map(|(name, data)| (name, bytes(data)))
            .collect(),
        ..Facts::default()
    }
}

fn valid(spec: Value) -> Validated {
    validate(&chat(spec), &Facts::default(), &defaults()).expect("valid")
}

fn image(validated: &Validated, part: Part) -> &str {
    &validated.parts[&part].image
}

mod faults;

use faults::{auth, external, login, overrides, secret_faults, spec_faults};

const AUTH: Part = Part::Service(chat_events::Service::Auth);

#[test]
fn every_fault_has_a_reason_and_a_message_that_names_object_and_key() {
    let mut told = BTreeSet::new();
    let faults: Vec<_> = secret_faults().into_iter().chain(spec_faults()).collect();
    for (reason, message, spec, secrets) in &faults {
        let outcome = validate(&chat(spec.clone()), &facts(secrets.clone()), &defaults());
        let fault = outcome.expect_err(message);
        assert_eq!((fault.reason, fault.message.as_str()), (*reason, *message));
        told.insert(fault.message);
    }
    assert_eq!(told.len(), faults.len(), "no message is told of two faults");
}

#[test]
fn a_secret_may_prefer_tls_and_not_demand_it() {
    for mode in ["disable", "allow", "prefer"] {
        let secrets = facts(login(json!({"sslmode": mode})));
        validate(&chat(external("postgres")), &secrets, &defaults()).expect(mode);
    }
}

#[test]
fn overrides_that_would_weaken_a_pod_are_refused_by_name() {
    for field in [
        "hostNetwork",
        "securityContext",
        "containers",
        "volumes",
        "serviceAccountName",
    ] {
        let spec = overrides(json!({"spec": {field: {}}}));
        let fault = validate(&chat(spec), &Facts::default(), &defaults()).expect_err(field);
        assert_eq!(fault.reason, "OverrideNotAllowed");
        assert!(fault.message.contains(&format!("`{field}`")), "{fault}");
    }
}

#[test]
fn a_secret_that_is_no_text_is_told_without_its_content() {
    let mut facts = facts(login(json!({})));
    let secret = facts.secrets.get_mut("db").expect("the Secret");
    secret.insert("password".into(), vec![0xff, b's', b'3']);
    let fault = validate(&chat(external("postgres")), &facts, &defaults()).expect_err("no text");
    assert_eq!(fault.message, "Key `password` of Secret `db` is no text");
}

#[test]
fn a_gateway_is_needed_for_a_route() {
    let mut facts = Facts::default();
    facts.apis.insert(Api::HttpRoute);
    let spec = json!({"exposure": {"type": "Gateway"}});
    let fault = validate(&chat(spec), &facts, &defaults()).expect_err("no gateway");
    assert_eq!(fault.reason, "NoGateway");
}

#[test]
fn an_image_from_elsewhere_is_refused_where_registries_are_named() {
    let defaults = Defaults {
        allowed_registries: vec!["docker.io/chatcluster/".into(), "docker.io/library".into()],
        ..defaults()
    };
    let check = |image: &str| {
        validate(
            &chat(auth("image", json!(image))),
            &Facts::default(),
            &defaults,
        )
        .map_err(|fault| fault.reason)
        .map(drop)
    };
    assert_eq!(check(""), Ok(()));
    assert_eq!(check("docker.io/chatcluster/auth"), Ok(()));
    for foreign in [
        "evil.example/chatcluster/auth",
        "chatclusterx/auth",
        "auth",
        "docker.io/chatcluster",
    ] {
        assert_eq!(check(foreign), Err("ImageNotAllowed"), "{foreign}");
    }
}

#[test]
fn one_registry_takes_the_place_of_all() {
    let digest = format!("ghcr.io/acme/users@sha256:{}", "0".repeat(64));
    let validated = valid(json!({
        "imageRegistry": "mirror.example:5000/chat/",
        "version": "2.0.0",
        "services": {"users": {"image": digest}},
    }));
    assert_eq!(
        image(&validated, AUTH),
        "mirror.example:5000/chat/chatcluster/auth:2.0.0"
    );
    assert_eq!(
        image(&validated, Part::Service(chat_events::Service::Users)),
        format!(
            "mirror.example:5000/chat/acme/users@sha256:{}",
            "0".repeat(64)
        )
    );
    let Postgres::Managed(postgres) = &validated.postgres else {
        panic!("managed");
    };
    assert_eq!(
        postgres.image,
        "mirror.example:5000/chat/library/postgres:17"
    );
}

#[test]
fn a_size_is_a_preset_that_explicit_values_win_over() {
    let validated = valid(json!({"size": "large", "services": {
        "auth": {"replicas": 7, "resources": {"requests": {"memory": "1Gi"}, "limits": {"cpu": "500m"}}},
    }}));
    let auth = &validated.parts[&AUTH];
    assert_eq!(auth.replicas, Some(7));
    let amount = |all: &Option<
        BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
    >,
                  name: &str| { all.as_ref().expect("set")[name].0.clone() };
    assert_eq!(amount(&auth.resources.requests, "memory"), "1Gi");
    assert_eq!(amount(&auth.resources.limits, "memory"), "2Gi");
    // The preset of the request would be above the limit.
    assert_eq!(amount(&auth.resources.requests, "cpu"), "500m");
    assert_eq!(validated.parts[&Part::Web].replicas, Some(3));
}

#[test]
fn an_autoscaler_decides_on_replicas_unless_nothing_is_to_run() {
    let spec = |stopped: bool| {
        let scaling = json!({"type": "Hpa", "min": 2, "max": 4});
        json!({"stopped": stopped, "services": {"auth": {"replicas": 9, "autoscaling": scaling}}})
    };
    assert_eq!(valid(spec(false)).parts[&AUTH].replicas, None);
    assert_eq!(valid(spec(true)).parts[&AUTH].replicas, Some(0));
}

#[test]
fn the_origin_follows_where_tls_ends() {
    assert_eq!(valid(json!({})).origin, "http://chat.example.com");
    let spec = json!({"exposure": {"tls": {"mode": "External"}}});
    assert_eq!(valid(spec).origin, "https://chat.example.com");
}

#[test]
fn services_share_a_server_and_never_a_database() {
    let facts = facts(login(json!({"port": "6432"})));
    let validated = validate(&chat(external("postgres")), &facts, &defaults()).expect("valid");
    let Postgres::External(logins) = validated.postgres else {
        panic!("external");
    };
    let places: BTreeSet<_> = logins.values().map(|login| login.place.as_str()).collect();
    assert_eq!(
        places,
        [
            "demo_auth",
            "demo_messages",
            "demo_notifications",
            "demo_users"
        ]
        .into()
    );
    assert!(logins.values().all(|login| login.port == 6432));
}

#[test]
fn another_content_of_a_secret_has_another_hash_and_the_same_has_the_same() {
    let hash = |password: &str| {
        let facts = facts(login(json!({"password": password})));
        let validated = validate(&chat(external("rabbitmq")), &facts, &defaults()).expect("valid");
        match validated.rabbitmq {
            Rabbitmq::External(login) => login.content_hash,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(hash("a"), hash("a"));
    assert_eq!(hash("a"), hash("a\n"), "the end of a line is no part of it");
    assert_ne!(hash("a"), hash("b"));
}

#[test]
fn a_migration_counts_for_the_image_that_it_was_of() {
    let job = |spec: &Value| {
        crate::build::migration::name(&valid(spec.clone()), chat_events::Service::Auth)
    };
    let (old, new) = (json!({}), auth("image", json!("chatcluster/auth:2")));
    let mut facts = Facts::default();
    facts
        .migrations
        .insert(job(&old), MigrationResult::Succeeded);
    facts.migrations.insert(job(&new), MigrationResult::Failed);
    let migrated = |spec| {
        validate(&chat(spec), &facts, &defaults())
            .expect("valid")
            .migrated
    };
    assert_eq!(migrated(old), [chat_events::Service::Auth]);
    assert_eq!(migrated(new), []);
}
