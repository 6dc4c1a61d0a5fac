//! Everything that can be wrong, and what people are told of it.

use serde_json::{Value, json};

/// A reason, the message with it, and what leads to it.
pub type Fault = (&'static str, &'static str, Value, Value);

pub fn external(store: &str) -> Value {
    json!({store: {"mode": "External", "external": {"secretRef": {"name": "db"}}}})
}

pub fn login(changes: Value) -> Value {
    let mut login = json!({"host": "h", "username": "u", "password": "p"});
    for (key, value) in changes.as_object().expect("keys") {
        login[key] = value.clone();
    }
    login
        .as_object_mut()
        .expect("keys")
        .retain(|_, it| !it.is_null());
    json!({"db": login})
}

pub fn auth(field: &str, value: Value) -> Value {
    json!({"services": {"auth": {field: value}}})
}

pub fn overrides(spec: Value) -> Value {
    auth("podOverrides", spec)
}

pub fn secret_faults() -> Vec<Fault> {
    let tls = json!({"exposure": {"tls": {"mode": "Secret", "secretName": "web"}}});
    let jwt = json!({"security": {"jwt": {"secretRef": {"name": "key"}}}});
    vec![
        (
            "SecretMissing",
            "Secret `db`, which spec.postgres.external.secretRef names, does not exist",
            external("postgres"),
            json!({}),
        ),
        (
            "SecretMissing",
            "Secret `db`, which spec.rabbitmq.external.secretRef names, does not exist",
            external("rabbitmq"),
            json!({}),
        ),
        (
            "SecretMissing",
            "Secret `db`, which spec.redis.external.secretRef names, does not exist",
            external("redis"),
            json!({}),
        ),
        (
            "SecretKeyMissing",
            "Secret `db` has no key `host`, which spec.postgres.external.secretRef needs",
            external("postgres"),
            login(json!({"host": null})),
        ),
        (
            "SecretKeyMissing",
            "Secret `db` has no key `username`, which spec.rabbitmq.external.secretRef needs",
            external("rabbitmq"),
            login(json!({"username": null})),
        ),
        (
            "SecretKeyMissing",
            "Secret `db` has no key `password`, which spec.rabbitmq.external.secretRef needs",
            external("rabbitmq"),
            login(json!({"password": null})),
        ),
        (
            "SecretKeyInvalid",
            "Key `password` of Secret `db` is empty",
            external("postgres"),
            login(json!({"password": "\n"})),
        ),
        (
            "SecretKeyInvalid",
            "Key `username` of Secret `db` has more than one line",
            external("postgres"),
            login(json!({"username": "a\nb"})),
        ),
        (
            "SecretKeyInvalid",
            "Key `port` of Secret `db` is no port",
            external("postgres"),
            login(json!({"port": "0"})),
        ),
        (
            "SecretKeyInvalid",
            "Key `host` of Secret `db` is no name or address of a server",
            external("postgres"),
            login(json!({"host": "http://h/"})),
        ),
        (
            "TlsNotSupported",
            "Key `sslmode` of Secret `db` demands TLS, and services use it only where the server offers it: leave the key out, or set it to prefer",
            external("postgres"),
            login(json!({"sslmode": "verify-full"})),
        ),
        (
            "SecretKeyInvalid",
            "Key `host` of Secret `db` is not `host:port`, as Redis needs it",
            external("redis"),
            login(json!({})),
        ),
        (
            "SharedDatabase",
            "auth and users would share the database that key `dbname` of Secret `db` names: give each a Secret of its own in spec.postgres.external.perService",
            external("postgres"),
            login(json!({"dbname": "one"})),
        ),
        (
            "SecretNotNamed",
            "spec.postgres.external.secretRef.name is needed in mode External",
            json!({"postgres": {"mode": "External"}}),
            json!({}),
        ),
        (
            "SecretMissing",
            "Secret `key`, which spec.security.jwt.secretRef names, does not exist",
            jwt.clone(),
            json!({}),
        ),
        (
            "SecretKeyMissing",
            "Secret `key` has no key `JWT_KEY`, which spec.security.jwt.secretRef needs",
            jwt.clone(),
            json!({"key": {"jwt": "x"}}),
        ),
        (
            "JwtKeyTooShort",
            "Key `JWT_KEY` of Secret `key` has 31 bytes, and needs 32",
            jwt,
            json!({"key": {"JWT_KEY": "a".repeat(31)}}),
        ),
        (
            "JwtKeyTooShort",
            "Key `JWT_KEY` of Secret `jwt-secret` has 5 bytes, and needs 32",
            json!({}),
            json!({"jwt-secret": {"JWT_KEY": "short"}}),
        ),
        (
            "SecretMissing",
            "Secret `web`, which spec.exposure.tls.secretName names, does not exist",
            tls.clone(),
            json!({}),
        ),
        (
            "SecretKeyMissing",
            "Secret `web` has no key `tls.key`, which spec.exposure.tls.secretName needs",
            tls.clone(),
            json!({"web": {"tls.crt": "-----BEGIN CERTIFICATE-----"}}),
        ),
        (
            "SecretKeyInvalid",
            "Key `tls.crt` of Secret `web` is not in PEM form",
            tls,
            json!({"web": {"tls.crt": "x", "tls.key": "-----BEGIN"}}),
        ),
    ]
}

pub fn spec_faults() -> Vec<Fault> {
    let none = || json!({});
    let annotation =
        |key: &str, value: &str| json!({"exposure": {"ingress": {"annotations": {key: value}}}});
    vec![
        (
            "InvalidHost",
            "spec.host: `a..b` is no name of a host, such as chat.example.com",
            json!({"host": "a..b"}),
            none(),
        ),
        (
            "InvalidImage",
            "spec.services.auth.image: `auth@sha256:12` is no name of an image",
            auth("image", json!("auth@sha256:12")),
            none(),
        ),
        (
            "InvalidImage",
            "spec.postgres.managed.image: `/postgres` is no name of an image",
            json!({"postgres": {"managed": {"image": "/postgres"}}}),
            none(),
        ),
        (
            "AutoscalingRange",
            "spec.services.auth.autoscaling: min, 5, is above max, 4",
            auth("autoscaling", json!({"type": "Hpa", "min": 5, "max": 4})),
            none(),
        ),
        (
            "KedaMissing",
            "spec.services.auth.autoscaling.type is Keda, and the cluster has no KEDA",
            auth("autoscaling", json!({"type": "Keda"})),
            none(),
        ),
        (
            "UnknownResource",
            "spec.services.auth.resources.limits: `gpu` is none of cpu, memory and ephemeral-storage",
            auth("resources", json!({"limits": {"gpu": "1"}})),
            none(),
        ),
        (
            "InvalidQuantity",
            "spec.services.auth.resources.requests.cpu: `fast` is no quantity, such as 250m or 512Mi",
            auth("resources", json!({"requests": {"cpu": "fast"}})),
            none(),
        ),
        (
            "RequestAboveLimit",
            "spec.services.auth.resources: the request of cpu, 2, is above its limit, 1",
            auth(
                "resources",
                json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            ),
            none(),
        ),
        (
            "InvalidStorage",
            "spec.redis.managed.storage: `0` is no size of a volume, such as 5Gi",
            json!({"redis": {"managed": {"storage": "0"}}}),
            none(),
        ),
        (
            "StoreReplicas",
            "spec.rabbitmq.managed.replicas cannot be 2",
            json!({"rabbitmq": {"managed": {"replicas": 2}}}),
            none(),
        ),
        (
            "ReservedEnv",
            "spec.services.auth.env: `DB_HOST` is set by the operator alone",
            auth("env", json!([{"name": "DB_HOST"}])),
            none(),
        ),
        (
            "ReservedEnv",
            "spec.services.auth.env: `PASSWORD_MIN_FILE` is set by the operator alone",
            auth("env", json!([{"name": "PASSWORD_MIN_FILE"}])),
            none(),
        ),
        (
            "ReservedEnv",
            "spec.services.auth.env: `LD_PRELOAD` is set by the operator alone",
            auth("env", json!([{"name": "LD_PRELOAD"}])),
            none(),
        ),
        (
            "DuplicateEnv",
            "spec.services.auth.env: `DB_POOL` is there twice",
            auth("env", json!([{"name": "DB_POOL"}, {"name": "DB_POOL"}])),
            none(),
        ),
        (
            "WebHasNoSettings",
            "spec.services.web.env: the client is files alone, and reads no settings",
            json!({"services": {"web": {"env": [{"name": "A"}]}}}),
            none(),
        ),
        (
            "ForeignNamespace",
            "spec.services.auth.podOverrides names other namespaces, and may only speak of its own",
            overrides(
                json!({"spec": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "k", "namespaces": ["kube-system"]}]}}}}),
            ),
            none(),
        ),
        (
            "ReservedLabel",
            "spec.services.auth.podOverrides: `app.kubernetes.io/name` is set by the operator",
            overrides(json!({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}})),
            none(),
        ),
        (
            "GraceTooShort",
            "spec.services.auth.podOverrides: terminationGracePeriodSeconds is 39, and a pod needs 40 to end its requests and sockets",
            overrides(json!({"spec": {"terminationGracePeriodSeconds": 39}})),
            none(),
        ),
        (
            "AnnotationNotAllowed",
            "spec.exposure.ingress.annotations: `a/Snippet` could run in a shared NGINX",
            annotation("a/Snippet", "x"),
            none(),
        ),
        (
            "ClassByAnnotation",
            "spec.exposure.ingress.annotations: use className in place of `kubernetes.io/ingress.class`",
            annotation("kubernetes.io/ingress.class", "x"),
            none(),
        ),
        (
            "CertManagerMissing",
            "spec.exposure.tls.mode is CertManager, and the cluster has no cert-manager",
            json!({"exposure": {"tls": {"mode": "CertManager", "issuerRef": {"name": "i"}}}}),
            none(),
        ),
        (
            "GatewayApiMissing",
            "spec.exposure.type is Gateway, and the cluster has no Gateway API",
            json!({"exposure": {"type": "Gateway"}}),
            none(),
        ),
        (
            "BackingStoreUnavailable",
            "spec.postgres.mode is Delegated, and the cluster has no CloudNativePG",
            json!({"postgres": {"mode": "Delegated"}}),
            none(),
        ),
        (
            "BackingStoreUnavailable",
            "spec.rabbitmq.mode is Delegated, and the cluster has no RabbitMQ cluster operator",
            json!({"rabbitmq": {"mode": "Delegated"}}),
            none(),
        ),
    ]
}
