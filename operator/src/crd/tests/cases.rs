//! An accepted and a refused example of each rule. The API server is asked about
//! the same ones, in `tests/tests/operator_schema.rs`.

use serde_json::{Value, json};

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = exposure_cases();
    cases.extend(store_cases());
    cases
}

/// A rule by its message, with a spec that keeps it and one that breaks it.
pub struct Case {
    pub message: &'static str,
    /// What is changed, for rules about changes.
    pub before: Option<Value>,
    pub kept: Value,
    pub broken: Value,
}

fn rule(message: &'static str, kept: Value, broken: Value) -> Case {
    Case {
        message,
        before: None,
        kept,
        broken,
    }
}

fn change(message: &'static str, before: Value, kept: Value, broken: Value) -> Case {
    Case {
        message,
        before: Some(before),
        kept,
        broken,
    }
}

fn tls(tls: Value) -> Value {
    json!({"exposure": {"tls": tls}})
}

fn exposure_cases() -> Vec<Case> {
    let annotations =
        |key: &str, value: &str| json!({"exposure": {"ingress": {"annotations": {key: value}}}});
    vec![
        rule(
            "exposure.gateway.parentRefs must name at least one Gateway when exposure.type is Gateway",
            json!({"exposure": {"type": "Gateway", "gateway": {"parentRefs": [{"name": "public"}]}}}),
            json!({"exposure": {"type": "Gateway"}}),
        ),
        rule(
            "exposure.tls.mode must be Disabled or External when exposure.type is None",
            json!({"exposure": {"type": "None", "tls": {"mode": "External"}}}),
            json!({"exposure": {"type": "None", "tls": {"mode": "Secret", "secretName": "tls"}}}),
        ),
        rule(
            "exposure.ingress.annotations must hold no snippet: it would run in the shared NGINX",
            annotations("example.com/team", "chat"),
            annotations("nginx.org/Server-Snippets", "return 200;"),
        ),
        rule(
            "exposure.ingress.annotations must hold no line break",
            annotations("example.com/team", "chat"),
            annotations("example.com/team", "chat\n}"),
        ),
        rule(
            "exposure.tls.secretName belongs to exposure.tls.mode Secret, and to it alone",
            tls(json!({"mode": "Secret", "secretName": "tls"})),
            tls(json!({"mode": "Secret"})),
        ),
        rule(
            "exposure.tls.issuerRef belongs to exposure.tls.mode CertManager, and to it alone",
            tls(json!({"mode": "CertManager", "issuerRef": {"name": "issuer"}})),
            tls(json!({"mode": "Disabled", "issuerRef": {"name": "issuer"}})),
        ),
        rule(
            "autoscaling.min must not be above autoscaling.max",
            json!({"services": {"auth": {"autoscaling": {"type": "Hpa", "min": 3, "max": 3}}}}),
            json!({"services": {"socketHandler": {"autoscaling": {"type": "Hpa", "min": 4, "max": 3}}}}),
        ),
        rule(
            "postgres.external.perService knows auth, users, messages and notifications",
            json!({"postgres": {"mode": "External", "external": {
                "secretRef": {"name": "db"}, "perService": {"auth": {"name": "db-auth"}}}}}),
            json!({"postgres": {"mode": "External", "external": {
                "secretRef": {"name": "db"}, "perService": {"web": {"name": "db-web"}}}}}),
        ),
    ]
}

macro_rules! store_cases {
    ($store:literal) => {{
        let managed = |managed: Value| json!({$store: {"mode": "Managed", "managed": managed}});
        let external = || json!({$store: {"mode": "External", "external": {"secretRef": {"name": "s"}}}});
        vec![
            change(
                concat!($store, ".mode cannot be changed: move the data to a new ChatCluster instead"),
                json!({}),
                json!({$store: {"mode": "Managed"}}),
                external(),
            ),
            rule(
                concat!($store, ".managed belongs to ", $store, ".mode Managed alone"),
                managed(json!({"storage": "1Gi"})),
                json!({$store: {"mode": "External", "managed": {}, "external": {"secretRef": {"name": "s"}}}}),
            ),
            rule(
                concat!($store, ".external belongs to ", $store, ".mode External, and to it alone"),
                external(),
                json!({$store: {"mode": "External"}}),
            ),
            change(
                concat!($store, ".managed.storage can grow, but never shrink"),
                managed(json!({"storage": "5Gi"})),
                managed(json!({"storage": "5500Mi"})),
                managed(json!({"storage": "5000Mi"})),
            ),
            change(
                concat!($store, ".managed.storage can grow, but never shrink"),
                managed(json!({"storage": "6Gi"})),
                managed(json!({"storage": "6Gi"})),
                json!({$store: {"mode": "Managed"}}),
            ),
            change(
                concat!($store, ".managed.storageClassName cannot be changed"),
                managed(json!({"storageClassName": "fast"})),
                managed(json!({"storageClassName": "fast", "storage": "6Gi"})),
                managed(json!({"storageClassName": "slow"})),
            ),
        ]
    }};
}

fn store_cases() -> Vec<Case> {
    let delegated = |store: &str, mode: &str| json!({store: {"mode": mode, "delegated": {}}});
    let pods = |store: &str, replicas: i32| json!({store: {"managed": {"replicas": replicas}}});
    let mut cases = store_cases!("postgres");
    cases.extend(store_cases!("rabbitmq"));
    cases.extend(store_cases!("redis"));
    cases.extend([
        rule(
            "postgres.delegated belongs to postgres.mode Delegated alone",
            delegated("postgres", "Delegated"),
            delegated("postgres", "Managed"),
        ),
        rule(
            "rabbitmq.delegated belongs to rabbitmq.mode Delegated alone",
            delegated("rabbitmq", "Delegated"),
            delegated("rabbitmq", "Managed"),
        ),
        rule(
            "postgres.managed.replicas must be 1: use mode Delegated or External for more",
            pods("postgres", 1),
            pods("postgres", 2),
        ),
        rule(
            "redis.managed.replicas must be 1: use mode Delegated or External for more",
            pods("redis", 1),
            pods("redis", 3),
        ),
        rule(
            "rabbitmq.managed.replicas must be 1 or 3: quorum queues need an odd number",
            pods("rabbitmq", 3),
            pods("rabbitmq", 2),
        ),
        change(
            "rabbitmq.managed.replicas cannot be changed: existing queues would keep their members",
            json!({}),
            pods("rabbitmq", 1),
            pods("rabbitmq", 3),
        ),
    ]);
    cases
}
