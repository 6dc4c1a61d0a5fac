//! The public paths, for every controller that knows Ingress. One object: two of
//! one host would be refused by some controllers, and the services end their slow
//! requests by themselves, so the long timeouts are for sockets alone in effect.

use std::collections::BTreeMap;

use chat_events::routes::ROUTES;
use chat_events::{Service, limits};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule,
    IngressServiceBackend, IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::{certificate, meta, service};
use crate::resources::Resources;
use crate::validate::{Exposure, Tls, Validated};

/// Seconds that a socket may be silent.
const IDLE: u32 = 3600;

pub fn build(chat: &Validated, out: &mut Resources) {
    let Exposure::Ingress {
        class,
        annotations,
        tls,
    } = &chat.exposure
    else {
        return;
    };
    let mut metadata = meta::object(chat, "ingress", "");
    metadata.name = Some(chat.name.clone());
    let mut all = presets(chat);
    all.extend(annotations.clone());
    metadata.annotations = Some(all);
    out.ingresses.push(Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: Some(class.clone()),
            tls: secret(chat, tls).map(|name| {
                vec![IngressTLS {
                    hosts: Some(vec![chat.host.clone()]),
                    secret_name: Some(name),
                }]
            }),
            rules: Some(vec![IngressRule {
                host: Some(chat.host.clone()),
                http: Some(HTTPIngressRuleValue { paths: paths(chat) }),
            }]),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    });
}

/// What NGINX's two controllers need to be told; others ignore it.
fn presets(chat: &Validated) -> BTreeMap<String, String> {
    let sockets: Vec<_> = Service::ALL
        .into_iter()
        .filter(|it| service::has_sockets(*it))
        .map(|it| meta::name(chat, it.name()))
        .collect();
    let body = limits::BODY.to_string();
    [
        ("nginx.ingress.kubernetes.io/proxy-body-size", body.clone()),
        (
            "nginx.ingress.kubernetes.io/proxy-read-timeout",
            IDLE.to_string(),
        ),
        (
            "nginx.ingress.kubernetes.io/proxy-send-timeout",
            IDLE.to_string(),
        ),
        ("nginx.org/client-max-body-size", body),
        ("nginx.org/proxy-read-timeout", format!("{IDLE}s")),
        ("nginx.org/proxy-send-timeout", format!("{IDLE}s")),
        ("nginx.org/websocket-services", sockets.join(",")),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

fn secret(chat: &Validated, tls: &Tls) -> Option<String> {
    match tls {
        Tls::Disabled | Tls::External => None,
        Tls::Secret(name) => Some(name.clone()),
        Tls::CertManager { .. } => Some(certificate::secret(chat)),
    }
}

fn paths(chat: &Validated) -> Vec<HTTPIngressPath> {
    ROUTES
        .iter()
        .map(|route| HTTPIngressPath {
            path: Some(route.prefix.into()),
            path_type: "Prefix".into(),
            backend: IngressBackend {
                service: Some(IngressServiceBackend {
                    name: service::behind(chat, route.backend),
                    port: Some(ServiceBackendPort {
                        name: Some("http".into()),
                        number: None,
                    }),
                }),
                resource: None,
            },
        })
        .collect()
}
