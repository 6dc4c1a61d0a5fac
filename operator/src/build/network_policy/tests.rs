//! The rendered policies, evaluated as a cluster would, against every pair.

use std::collections::BTreeSet;

use super::*;
use crate::build::fixture::{assert_built, chat, external, managed};

type Labels = BTreeMap<String, String>;

/// Somebody who talks or listens.
#[derive(Clone)]
struct Someone {
    name: String,
    /// The name and the labels of the namespace; `None` is outside the cluster.
    namespace: Option<(&'static str, Labels)>,
    labels: Labels,
    address: &'static str,
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn someone(name: &str, namespace: &'static str, pod: Labels) -> Someone {
    Someone {
        name: name.into(),
        namespace: Some((namespace, labels(&[(NAMESPACE_NAME, namespace)]))),
        labels: pod,
        address: "10.0.0.1",
    }
}

/// Every pod of the chat, and who may be around it.
fn everybody(chat: &Validated) -> Vec<Someone> {
    let mut parts: Vec<String> = ["web", "postgres", "rabbitmq", "redis", "logins"]
        .map(Into::into)
        .into();
    for service in Service::ALL {
        parts.push(service.name().into());
        if service.has_database() {
            parts.push(meta::migration(service));
        }
    }
    let mut all: Vec<Someone> = parts
        .iter()
        .map(|part| someone(part, "chats", meta::labels(chat, part)))
        .collect();
    let mut neighbour = chat.clone();
    neighbour.name = "other".into();
    for part in ["auth", "postgres", "rabbitmq", "redis"] {
        let name = format!("other-{part}");
        all.push(someone(&name, "chats", meta::labels(&neighbour, part)));
    }
    let elsewhere = |part| someone("same-name-elsewhere", "elsewhere", meta::labels(chat, part));
    let mut marked = someone("marked-controller", "edge", Labels::new());
    marked
        .namespace
        .get_or_insert_with(|| unreachable!())
        .1
        .insert(INGRESS_LABEL.into(), "true".into());
    all.extend([
        elsewhere("messages"),
        someone("stranger", "chats", Labels::new()),
        someone("foreigner", "elsewhere", Labels::new()),
        someone("controller", "ingress-nginx", Labels::new()),
        marked,
        someone("prometheus", "monitoring", Labels::new()),
        someone("dns", "kube-system", labels(&[("k8s-app", "kube-dns")])),
        someone(
            "cnpg",
            "chats",
            labels(&[("cnpg.io/cluster", "demo-postgres")]),
        ),
        someone(
            "rabbitmq-cluster",
            "chats",
            labels(&[("app.kubernetes.io/name", "demo-rabbitmq")]),
        ),
        someone(
            "gateway",
            "chats",
            labels(&[("gateway.networking.k8s.io/gateway-name", "public")]),
        ),
    ]);
    for (name, address) in [("internet", "203.0.113.7"), ("node-dns", "169.254.20.10")] {
        all.push(Someone {
            name: name.into(),
            namespace: None,
            labels: Labels::new(),
            address,
        });
    }
    all
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    equal
        .clone()
        .all(|(key, value)| labels.get(key) == Some(value))
        && expressions.clone().all(|it| {
            assert_eq!(it.operator, "In");
            let values = it.values.iter().flatten();
            labels
                .get(&it.key)
                .is_some_and(|label| values.clone().any(|value| value == label))
        })
}

fn is(peer: &NetworkPolicyPeer, someone: &Someone) -> bool {
    if let Some(block) = &peer.ip_block {
        assert!(block.cidr.ends_with("/32"));
        return block.cidr.trim_end_matches("/32") == someone.address;
    }
    let Some((namespace, namespace_labels)) = &someone.namespace else {
        return false;
    };
    let at_home = match &peer.namespace_selector {
        Some(selector) => selects(selector, namespace_labels),
        None => *namespace == "chats",
    };
    let pod = peer.pod_selector.as_ref();
    at_home && pod.is_none_or(|selector| selects(selector, &someone.labels))
}

fn on(ports: Option<&Vec<NetworkPolicyPort>>, (protocol, port): (&str, u16)) -> bool {
    ports.is_none_or(|ports| {
        ports.iter().any(|it| {
            it.protocol.as_deref() == Some(protocol)
                && it.port == Some(IntOrString::Int(port.into()))
        })
    })
}

/// Whether one side lets the connection pass: it does when no policy is about it.
fn passes(
    policies: &[NetworkPolicy],
    whose: &Someone,
    direction: &str,
    allows: impl Fn(&NetworkPolicySpec) -> bool,
) -> bool {
    let mut about = policies
        .iter()
        .filter_map(|policy| policy.spec.as_ref())
        .filter(|spec| {
            let types = spec.policy_types.iter().flatten();
            whose.namespace.as_ref().is_some_and(|it| it.0 == "chats")
                && types.clone().any(|it| it == direction)
                && spec
                    .pod_selector
                    .as_ref()
                    .is_none_or(|it| selects(it, &whose.labels))
        })
        .peekable();
    about.peek().is_none() || about.any(allows)
}

fn may(policies: &[NetworkPolicy], from: &Someone, to: &Someone, port: (&str, u16)) -> bool {
    let goes_out = passes(policies, from, "Egress", |spec| {
        spec.egress.iter().flatten().any(|rule| {
            let to_it = rule
                .to
                .as_ref()
                .is_none_or(|to_any| to_any.iter().any(|it| is(it, to)));
            to_it && on(rule.ports.as_ref(), port)
        })
    });
    let comes_in = passes(policies, to, "Ingress", |spec| {
        spec.ingress.iter().flatten().any(|rule| {
            let sources = rule.from.as_ref();
            let from_it = sources.is_none_or(|any| any.iter().any(|it| is(it, from)));
            from_it && on(rule.ports.as_ref(), port)
        })
    });
    goes_out && comes_in
}

const PORTS: [(&str, u16); 14] = [
    ("TCP", 3000),
    ("TCP", 9000),
    ("TCP", 5432),
    ("TCP", 5433),
    ("TCP", 5672),
    ("TCP", 15_692),
    ("TCP", 15_672),
    ("TCP", 4369),
    ("TCP", 25_672),
    ("TCP", 6379),
    ("TCP", 53),
    ("UDP", 53),
    ("TCP", 4318),
    ("TCP", 443),
];

/// Every connection that has a pod of the chat at one end and is allowed.
fn allowed(chat: &Validated) -> BTreeSet<String> {
    let mut out = Resources::default();
    build(chat, &mut out);
    let everybody = everybody(chat);
    let ours = |it: &Someone| {
        it.namespace.as_ref().is_some_and(|it| it.0 == "chats")
            && it.labels.get("app.kubernetes.io/instance") == Some(&chat.name)
    };
    let mut allowed = BTreeSet::new();
    for from in &everybody {
        for to in everybody.iter().filter(|to| ours(from) || ours(to)) {
            for port in PORTS {
                if may(&out.network_policies, from, to, port) {
                    let (protocol, port) = port;
                    allowed.insert(format!("{} > {} {protocol} {port}", from.name, to.name));
                }
            }
        }
    }
    allowed
}

/// `from from > to to PORT…`, a line each, as single connections.
fn expected(table: &str) -> BTreeSet<String> {
    let mut expected = BTreeSet::new();
    for line in table.lines().filter(|line| !line.trim().is_empty()) {
        let (from, rest) = line.split_once('>').expect("an arrow");
        let (to, ports) = rest.split_once(':').expect("a colon");
        for from in from.split_whitespace() {
            for to in to.split_whitespace() {
                for port in ports.split_whitespace() {
                    let port = port
                        .strip_prefix("udp")
                        .map_or_else(|| format!("TCP {port}"), |port| format!("UDP {port}"));
                    expected.insert(format!("{from} > {to} {port}"));
                }
            }
        }
    }
    expected
}

fn assert_allowed(chat: &Validated, table: &str) {
    let (allowed, expected) = (allowed(chat), expected(table));
    let surplus: Vec<_> = allowed.difference(&expected).collect();
    let missing: Vec<_> = expected.difference(&allowed).collect();
    assert!(
        surplus.is_empty() && missing.is_empty(),
        "allowed and should not be: {surplus:#?}\ndenied and should not be: {missing:#?}"
    );
}

/// True whoever runs the stores.
const ALWAYS: &str = "
controller marked-controller > web auth users messages notifications socket-handler : 3000
prometheus > auth users messages notifications socket-handler : 9000
users messages notifications socket-handler > auth : 3000
socket-handler > users messages : 3000
auth users messages notifications socket-handler > dns node-dns : 53 udp53
auth-migration users-migration messages-migration notifications-migration > dns node-dns : 53 udp53
";

const MANAGED: &str = "
auth users messages notifications > postgres : 5432
auth-migration users-migration messages-migration notifications-migration > postgres : 5432
auth users messages notifications socket-handler > rabbitmq : 5672
users messages notifications socket-handler > redis : 6379
logins > postgres : 5432
logins > rabbitmq : 5672
logins > redis : 6379
logins > dns node-dns : 53 udp53
prometheus > rabbitmq : 15692
rabbitmq > rabbitmq : 4369 25672
rabbitmq > dns node-dns : 53 udp53
";

#[test]
fn exactly_these_connections_are_allowed() {
    assert_allowed(&chat(), &[ALWAYS, MANAGED].concat());
}

#[test]
fn traces_go_to_their_port_and_a_gateway_beside_us_comes_in() {
    let mut chat = chat();
    chat.otlp_endpoint = Some("http://collector.example.com:4318/v1/traces".into());
    chat.exposure = Exposure::Gateway {
        parents: vec![("public".into(), None)],
        tls: crate::validate::Tls::Disabled,
    };
    let anybody = "
auth users messages notifications socket-handler > \
internet node-dns dns same-name-elsewhere foreigner controller marked-controller prometheus \
stranger cnpg rabbitmq-cluster gateway other-auth other-postgres other-rabbitmq other-redis : 4318
gateway > web auth users messages notifications socket-handler : 3000
";
    assert_allowed(&chat, &[ALWAYS, MANAGED, anybody].concat());
}

#[test]
fn stores_of_other_operators_are_reached_by_their_labels() {
    let mut chat = chat();
    chat.postgres = Postgres::Delegated {
        instances: 3,
        storage: "20Gi".into(),
        image: None,
        ready: true,
    };
    chat.rabbitmq = Rabbitmq::Delegated {
        replicas: 3,
        storage: "10Gi".into(),
        ready: true,
    };
    let stores = "
auth users messages notifications > cnpg : 5432
auth-migration users-migration messages-migration notifications-migration > cnpg : 5432
auth users messages notifications socket-handler > rabbitmq-cluster : 5672
users messages notifications socket-handler > redis : 6379
logins > redis : 6379
logins > dns node-dns : 53 udp53
";
    assert_allowed(&chat, &[ALWAYS, stores].concat());
}

#[test]
fn external_stores_are_reached_at_their_ports_alone() {
    let mut chat = chat();
    let with_database = Service::ALL.into_iter().filter(|it| it.has_database());
    let port = |service| if service == Service::Auth { 5433 } else { 5432 };
    chat.postgres = Postgres::External(
        with_database
            .map(|it| (it, external("db.example.com", port(it))))
            .collect(),
    );
    chat.rabbitmq = Rabbitmq::External(external("mq.example.com", 443));
    chat.redis = Redis::Managed(managed("redis:7", 1));
    let anybody = "internet node-dns dns same-name-elsewhere foreigner controller \
        marked-controller prometheus stranger cnpg rabbitmq-cluster gateway \
        other-auth other-postgres other-rabbitmq other-redis";
    let stores = format!(
        "
auth auth-migration > {anybody} : 5433
users messages notifications users-migration messages-migration notifications-migration > {anybody} : 5432
auth users messages notifications socket-handler > {anybody} : 443
users messages notifications socket-handler > redis : 6379
logins > redis : 6379
logins > dns node-dns : 53 udp53
"
    );
    // Pods with the labels of managed stores are pods of the chat, and deny all.
    assert_allowed(&chat, &[ALWAYS, &stores].concat());
}

#[test]
fn the_port_of_an_endpoint_is_found() {
    for (url, port) in [
        ("http://otel:4318", 4318),
        ("https://otel.example.com/v1", 443),
        ("http://otel", 80),
        ("http://otel:4318/v1/traces?x=1:2", 4318),
        ("http://[fd00::1]:4318/", 4318),
    ] {
        assert_eq!(port_of(url), port, "{url}");
    }
}

#[test]
fn no_policies_without_the_wish() {
    let mut chat = chat();
    chat.network_policy = false;
    let mut out = Resources::default();
    build(&chat, &mut out);
    assert!(out.network_policies.is_empty());
}

#[test]
fn the_policies_of_a_chat() {
    let mut out = Resources::default();
    build(&chat(), &mut out);
    assert_built(&out, "network-policies");
}
