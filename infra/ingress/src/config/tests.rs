use serde_json::{Value, json};

use super::*;

const PORTS: Ports = Ports {
    http: 8080,
    https: 8443,
    health: 8081,
};

fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

fn service(name: &str, ip: &str) -> Service {
    object(json!({
        "metadata": {"name": name, "namespace": "one"},
        "spec": {"clusterIP": ip, "ports": [
            {"name": "admin", "port": 9000},
            {"name": "http", "port": 3000},
        ]},
    }))
}

fn ingress(name: &str, created: &str, spec: Value) -> Ingress {
    object(json!({
        "metadata": {
            "name": name,
            "namespace": "one",
            "creationTimestamp": created,
            "annotations": {
                "nginx.org/client-max-body-size": "65536",
                "nginx.org/proxy-read-timeout": "3600s",
                "nginx.org/websocket-services": "sockets,other",
            },
        },
        "spec": spec,
    }))
}

fn path(path: &str, service: &str) -> Value {
    json!({
        "path": path,
        "pathType": "Prefix",
        "backend": {"service": {"name": service, "port": {"name": "http"}}},
    })
}

fn chat(created: &str) -> Ingress {
    let paths = [path("/", "web"), path("/ws", "sockets")];
    let spec = json!({
        "ingressClassName": "nginx",
        "rules": [{"host": "chat.example.com", "http": {"paths": paths}}],
    });
    ingress("chat", created, spec)
}

fn found(ingresses: Vec<Ingress>) -> Found {
    Found {
        ingresses,
        services: vec![service("web", "10.96.0.1"), service("sockets", "10.96.0.2")],
        secrets: vec![object(json!({
            "metadata": {"name": "tls", "namespace": "one", "resourceVersion": "7"},
            "data": {"tls.crt": "Y2hhaW4=", "tls.key": "a2V5"},
        }))],
    }
}

const OLD: &str = "2026-01-01T00:00:00Z";
const NEW: &str = "2026-01-02T00:00:00Z";

#[test]
fn each_path_leads_to_the_address_of_its_service() {
    let out = render(&found(vec![chat(OLD)]), "nginx", PORTS);
    assert_eq!(out.problems, Vec::<String>::new());
    let text = &out.text;
    for line in [
        "location / { proxy_pass http://10.96.0.1:3000; }",
        "server_name chat.example.com;",
        "client_max_body_size 65536;",
        "proxy_read_timeout 3600s;",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    let sockets = text.lines().find(|it| it.contains("location /ws/"));
    let sockets = sockets.expect("a location of the sockets");
    assert!(sockets.contains("set $upgrade $http_upgrade;"), "{sockets}");
    assert!(sockets.ends_with("proxy_pass http://10.96.0.2:3000; }"));
}

#[test]
fn other_classes_are_for_others() {
    let mut other = chat(OLD);
    other.spec.as_mut().expect("a spec").ingress_class_name = Some("traefik".into());
    let nothing = render(&found(Vec::new()), "nginx", PORTS);
    assert_eq!(render(&found(vec![other]), "nginx", PORTS), nothing);
}

#[test]
fn a_host_belongs_to_the_oldest_ingress() {
    let mut young = chat(NEW);
    young.metadata.name = Some("young".into());
    let alone = render(&found(vec![chat(OLD)]), "nginx", PORTS);
    let both = render(&found(vec![young, chat(OLD)]), "nginx", PORTS);
    assert_eq!(both.text, alone.text);
    assert_eq!(
        both.problems,
        ["Ingress one/young: chat.example.com belongs to an older Ingress"]
    );
}

#[test]
fn a_certificate_makes_a_redirect_and_another_one_another_file() {
    let mut encrypted = chat(OLD);
    let tls = object(json!([{"hosts": ["chat.example.com"], "secretName": "tls"}]));
    encrypted.spec.as_mut().expect("a spec").tls = tls;
    let mut found = found(vec![encrypted]);
    let out = render(&found, "nginx", PORTS);
    assert_eq!(out.certificates["one_tls_7.pem"], b"chain\nkey");
    assert!(out.text.contains("return 301 https://$host$request_uri;"));
    assert!(out.text.contains("ssl_certificate one_tls_7.pem;"));
    found.secrets[0].metadata.resource_version = Some("8".into());
    let renewed = render(&found, "nginx", PORTS);
    assert!(renewed.text.contains("ssl_certificate one_tls_8.pem;"));
    found.secrets.clear();
    let without = render(&found, "nginx", PORTS);
    assert!(!without.text.contains("301"));
    assert_eq!(without.problems.len(), 1);
}

#[test]
fn what_is_not_there_answers_503_and_is_named() {
    let mut found = found(vec![chat(OLD)]);
    found.services.remove(0);
    let out = render(&found, "nginx", PORTS);
    assert!(out.text.contains("location / { return 503; }"));
    assert_eq!(
        out.problems,
        ["Ingress one/chat: the Service web or its port is not there"]
    );
}

#[test]
fn no_object_can_write_directives() {
    let mut bad = chat(OLD);
    let rules = bad.spec.as_mut().and_then(|spec| spec.rules.as_mut());
    rules.expect("rules")[0].host = Some("a; include /etc/passwd".into());
    let annotations = bad.metadata.annotations.get_or_insert_default();
    annotations.insert(
        "nginx.org/proxy-send-timeout".into(),
        "1s; include /etc/passwd".into(),
    );
    let mut worse = chat(NEW);
    worse.metadata.annotations = bad.metadata.annotations.clone();
    let out = render(&found(vec![bad, worse]), "nginx", PORTS);
    assert!(!out.text.contains("passwd"), "{}", out.text);
    assert_eq!(out.problems.len(), 2);
}
