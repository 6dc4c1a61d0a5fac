//! Who may talk to whom: nothing by default, in both directions, and then exactly
//! [`TABLE`].

use std::collections::BTreeMap;

use chat_events::Service;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{login, login_check, meta, postgres, rabbitmq, redis};
use crate::resources::Resources;
use crate::validate::{Exposure, Postgres, Rabbitmq, Redis, Validated};

/// A label that marks namespaces, with the value `true`, for controllers that
/// [`INGRESS_NAMESPACES`] and [`MONITORING_NAMESPACES`] do not know.
pub const INGRESS_LABEL: &str = "chatcluster.io/ingress";
pub const MONITORING_LABEL: &str = "chatcluster.io/monitoring";

/// Where ingress controllers and Gateways usually run.
pub const INGRESS_NAMESPACES: [&str; 10] = [
    "ingress-nginx",
    "nginx-gateway",
    "nginx-ingress",
    "traefik",
    "envoy-gateway-system",
    "istio-ingress",
    "istio-system",
    "haproxy-controller",
    "kong",
    "projectcontour",
];

/// Where Prometheus usually runs.
pub const MONITORING_NAMESPACES: [&str; 3] = ["monitoring", "observability", "prometheus"];

const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
const HTTP: u16 = 3000;
const ADMIN: u16 = 9000;
const DNS: u16 = 53;
/// Where a NodeLocal DNS cache listens.
const NODE_DNS: &str = "169.254.20.10/32";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Service(Service),
    Migration(Service),
    /// Tries who may log in while passwords change.
    LoginCheck,
    Web,
    Postgres,
    Rabbitmq,
    Redis,
    IngressController,
    Monitoring,
    Dns,
    Traces,
}

use Peer::{Dns, IngressController, LoginCheck, Migration, Monitoring, Traces, Web};

const AUTH: Peer = Peer::Service(Service::Auth);
const USERS: Peer = Peer::Service(Service::Users);
const MESSAGES: Peer = Peer::Service(Service::Messages);
const NOTIFICATIONS: Peer = Peer::Service(Service::Notifications);
const SOCKETS: Peer = Peer::Service(Service::SocketHandler);
const SERVICES: &[Peer] = &[AUTH, USERS, MESSAGES, NOTIFICATIONS, SOCKETS];
const MIGRATIONS: &[Peer] = &[
    Migration(Service::Auth),
    Migration(Service::Users),
    Migration(Service::Messages),
    Migration(Service::Notifications),
];

/// From, to, and the port; a port of 0 is the one that the address names.
const TABLE: &[(&[Peer], &[Peer], u16)] = &[
    (&[IngressController], &[Web], HTTP),
    (&[IngressController], SERVICES, HTTP),
    (&[Monitoring], SERVICES, ADMIN),
    (&[Monitoring], &[Peer::Rabbitmq], rabbitmq::METRICS_PORT),
    // Keys and ended sessions.
    (&[USERS, MESSAGES, NOTIFICATIONS, SOCKETS], &[AUTH], HTTP),
    // Members, positions, and peers by name.
    (&[SOCKETS], &[USERS, MESSAGES], HTTP),
    (
        &[AUTH, USERS, MESSAGES, NOTIFICATIONS],
        &[Peer::Postgres],
        0,
    ),
    (MIGRATIONS, &[Peer::Postgres], 0),
    (SERVICES, &[Peer::Rabbitmq], 0),
    (
        &[USERS, MESSAGES, NOTIFICATIONS, SOCKETS],
        &[Peer::Redis],
        0,
    ),
    (
        &[LoginCheck],
        &[Peer::Postgres, Peer::Rabbitmq, Peer::Redis],
        0,
    ),
    (&[Peer::Rabbitmq], &[Peer::Rabbitmq], rabbitmq::EPMD_PORT),
    (&[Peer::Rabbitmq], &[Peer::Rabbitmq], rabbitmq::NODES_PORT),
    (SERVICES, &[Dns], DNS),
    (MIGRATIONS, &[Dns], DNS),
    (&[LoginCheck], &[Dns], DNS),
    (&[Peer::Rabbitmq], &[Dns], DNS),
    (SERVICES, &[Traces], 0),
];

pub fn build(chat: &Validated, out: &mut Resources) {
    if !chat.network_policy {
        return;
    }
    out.network_policies.push(deny_all(chat));
    let ours = SERVICES.iter().chain(MIGRATIONS).chain(&[
        LoginCheck,
        Web,
        Peer::Postgres,
        Peer::Rabbitmq,
        Peer::Redis,
    ]);
    for peer in ours {
        out.network_policies.extend(policy(chat, *peer));
    }
}

/// Every pod of the chat, and nothing allowed.
fn deny_all(chat: &Validated) -> NetworkPolicy {
    let mut labels = meta::selector_labels(chat, "");
    labels.remove("app.kubernetes.io/component");
    NetworkPolicy {
        metadata: meta::object(chat, "network", "-deny-all"),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(matching(labels)),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ..NetworkPolicySpec::default()
        }),
    }
}

/// What one part may do besides.
fn policy(chat: &Validated, peer: Peer) -> Option<NetworkPolicy> {
    let part = part(chat, peer)?;
    let mut ingress = Vec::new();
    let mut egress = Vec::new();
    for (from, to, port) in TABLE {
        if to.contains(&peer) {
            let from = from.iter().flat_map(|from| pods(chat, *from)).collect();
            ingress.push(NetworkPolicyIngressRule {
                from: Some(from),
                ports: Some(ports(default_port(peer, *port))),
            });
        }
        if from.contains(&peer) {
            let to = to.iter().copied();
            egress.extend(to.filter_map(|to| way_out(chat, peer, to, *port)));
        }
    }
    Some(NetworkPolicy {
        metadata: meta::object(chat, &part, ""),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(meta::selector(chat, &part)),
            policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
            ingress: Some(ingress),
            egress: Some(egress),
        }),
    })
}

/// The component label of pods of ours, `None` where there are none.
fn part(chat: &Validated, peer: Peer) -> Option<String> {
    let ours = |part: &str, runs: bool| runs.then(|| part.to_owned());
    match peer {
        Peer::Service(service) => Some(service.name().to_owned()),
        Migration(service) => Some(meta::migration(service)),
        LoginCheck => ours(
            login_check::PART,
            login_check::stores(chat).next().is_some(),
        ),
        Web => Some("web".into()),
        Peer::Postgres => ours(
            postgres::PART,
            matches!(chat.postgres, Postgres::Managed(_)),
        ),
        Peer::Rabbitmq => ours(
            rabbitmq::PART,
            matches!(chat.rabbitmq, Rabbitmq::Managed(_)),
        ),
        Peer::Redis => ours(redis::PART, matches!(chat.redis, Redis::Managed(_))),
        IngressController | Monitoring | Dns | Traces => None,
    }
}

/// How a peer is recognised; nothing for one that is outside the cluster.
fn pods(chat: &Validated, peer: Peer) -> Vec<NetworkPolicyPeer> {
    if let Some(part) = part(chat, peer) {
        return vec![here(meta::selector_labels(chat, &part))];
    }
    let label = |key: &str, value: String| here([(key.to_owned(), value)].into());
    match peer {
        IngressController => {
            let mut controllers = namespaces(INGRESS_LABEL, &INGRESS_NAMESPACES);
            // Gateways that run beside us carry the name of theirs.
            if let Exposure::Gateway { parents, .. } = &chat.exposure {
                controllers.extend(parents.iter().map(|(name, _)| {
                    label("gateway.networking.k8s.io/gateway-name", name.clone())
                }));
            }
            controllers
        }
        Monitoring => namespaces(MONITORING_LABEL, &MONITORING_NAMESPACES),
        Dns => vec![
            NetworkPolicyPeer {
                namespace_selector: Some(one_of(NAMESPACE_NAME, &["kube-system"])),
                ..NetworkPolicyPeer::default()
            },
            NetworkPolicyPeer {
                ip_block: Some(IPBlock {
                    cidr: NODE_DNS.into(),
                    except: None,
                }),
                ..NetworkPolicyPeer::default()
            },
        ],
        Peer::Postgres if matches!(chat.postgres, Postgres::Delegated { .. }) => {
            vec![label("cnpg.io/cluster", meta::name(chat, postgres::PART))]
        }
        Peer::Rabbitmq if matches!(chat.rabbitmq, Rabbitmq::Delegated { .. }) => {
            let cluster = meta::name(chat, rabbitmq::PART);
            vec![label("app.kubernetes.io/name", cluster)]
        }
        _ => Vec::new(),
    }
}

/// One rule of `from`; `None` when there is nothing to reach.
fn way_out(chat: &Validated, from: Peer, to: Peer, port: u16) -> Option<NetworkPolicyEgressRule> {
    let elsewhere = match (from, to) {
        (Peer::Service(service) | Migration(service), Peer::Postgres) => {
            Some(login::database(chat, service)?.port)
        }
        (Peer::Service(service), Peer::Rabbitmq) => Some(login::broker(chat, service).port),
        (Peer::Service(service), Peer::Redis) => Some(login::cache(chat, service)?.port),
        (LoginCheck, Peer::Postgres | Peer::Rabbitmq | Peer::Redis) => {
            part(chat, to)?;
            Some(default_port(to, port))
        }
        (_, Traces) => Some(port_of(chat.otlp_endpoint.as_deref()?)),
        _ => None,
    };
    let to = pods(chat, to);
    Some(NetworkPolicyEgressRule {
        // A host outside the cluster has a name, and policies know addresses alone.
        to: (!to.is_empty()).then_some(to),
        ports: Some(ports(elsewhere.unwrap_or(port))),
    })
}

fn default_port(of: Peer, port: u16) -> u16 {
    match (of, port) {
        (Peer::Postgres, 0) => postgres::PORT,
        (Peer::Rabbitmq, 0) => rabbitmq::PORT,
        (Peer::Redis, 0) => redis::PORT,
        _ => port,
    }
}

/// The port of `http://host:port/path`.
fn port_of(url: &str) -> u16 {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let named = authority
        .rsplit_once(':')
        .and_then(|(_, it)| it.parse().ok());
    named.unwrap_or(if scheme == "https" { 443 } else { 80 })
}

fn ports(port: u16) -> Vec<NetworkPolicyPort> {
    let protocols: &[&str] = if port == DNS {
        &["TCP", "UDP"]
    } else {
        &["TCP"]
    };
    protocols
        .iter()
        .map(|protocol| NetworkPolicyPort {
            protocol: Some((*protocol).to_owned()),
            port: Some(IntOrString::Int(port.into())),
            end_port: None,
        })
        .collect()
}

/// Pods of the chat's own namespace.
fn here(labels: BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(matching(labels)),
        ..NetworkPolicyPeer::default()
    }
}

/// Pods of namespaces that carry the label, or one of the names.
fn namespaces(label: &str, names: &[&str]) -> Vec<NetworkPolicyPeer> {
    [
        matching([(label.to_owned(), "true".to_owned())].into()),
        one_of(NAMESPACE_NAME, names),
    ]
    .map(|selector| NetworkPolicyPeer {
        namespace_selector: Some(selector),
        ..NetworkPolicyPeer::default()
    })
    .into()
}

fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    }
}

fn one_of(key: &str, values: &[&str]) -> LabelSelector {
    LabelSelector {
        match_labels: None,
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: key.into(),
            operator: "In".into(),
            values: Some(values.iter().map(|&it| it.to_owned()).collect()),
        }]),
    }
}

#[cfg(test)]
mod tests;
