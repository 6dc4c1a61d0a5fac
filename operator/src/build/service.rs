//! How the workloads are found.

use chat_events::Service as Name;
use chat_events::routes::{Backend, ROUTES};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta;
use crate::resources::Resources;
use crate::validate::{Part, Validated};

/// The port of every Service that a path leads to.
pub const HTTP: i32 = 3000;
pub const ADMIN: i32 = 9000;

pub fn build(chat: &Validated, out: &mut Resources) {
    out.services.extend(chat.parts.keys().map(|part| Service {
        metadata: meta::object(chat, part.name(), ""),
        spec: Some(ServiceSpec {
            selector: Some(meta::selector_labels(chat, part.name())),
            ports: Some(ports(*part)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }));
}

fn ports(part: Part) -> Vec<ServicePort> {
    let port = |name: &str, port, protocol: Option<&str>| ServicePort {
        name: Some(name.into()),
        port,
        target_port: Some(IntOrString::String(name.into())),
        app_protocol: protocol.map(Into::into),
        ..ServicePort::default()
    };
    match part {
        Part::Web => vec![port("http", HTTP, None)],
        Part::Service(service) => vec![
            port(
                "http",
                HTTP,
                has_sockets(service).then_some("kubernetes.io/ws"),
            ),
            port("admin", ADMIN, None),
        ],
    }
}

/// Whether a path of long-lived sockets leads to the service.
pub fn has_sockets(service: Name) -> bool {
    ROUTES
        .iter()
        .any(|route| route.socket && route.backend == Backend::Service(service))
}

/// The Service behind a path.
pub fn behind(chat: &Validated, backend: Backend) -> String {
    match backend {
        Backend::Service(service) => meta::name(chat, service.name()),
        Backend::Client => meta::name(chat, Part::Web.name()),
    }
}
