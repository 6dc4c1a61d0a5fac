//! The certificate of the public name, by cert-manager.

use serde_json::json;

use super::{foreign, meta};
use crate::resources::Resources;
use crate::validate::{Exposure, Tls, Validated};

pub fn build(chat: &Validated, out: &mut Resources) {
    let tls = match &chat.exposure {
        Exposure::None => return,
        Exposure::Ingress { tls, .. } | Exposure::Gateway { tls, .. } => tls,
    };
    let Tls::CertManager { issuer, kind } = tls else {
        return;
    };
    let spec = json!({
        "secretName": secret(chat),
        "dnsNames": [chat.host],
        "issuerRef": { "name": issuer, "kind": kind, "group": "cert-manager.io" },
        "privateKey": { "rotationPolicy": "Always" },
    });
    let metadata = meta::object(chat, "tls", "");
    let version = "cert-manager.io/v1";
    out.foreign
        .push(foreign::object(version, "Certificate", metadata, spec));
}

/// The Secret that cert-manager fills.
pub fn secret(chat: &Validated) -> String {
    meta::name(chat, "tls")
}
