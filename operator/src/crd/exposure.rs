//! How browsers reach the chat.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::rules;

/// An Ingress, a Gateway API route, or neither; and TLS.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules(&[
    (
        "self.type != 'Gateway' || self.gateway.parentRefs.size() > 0",
        "exposure.gateway.parentRefs must name at least one Gateway when exposure.type is Gateway",
    ),
    (
        "self.type != 'None' || self.tls.mode in ['Disabled', 'External']",
        "exposure.tls.mode must be Disabled or External when exposure.type is None",
    ),
]))]
pub struct Exposure {
    /// `Ingress`, `Gateway` (an HTTPRoute) or `None`.
    #[serde(rename = "type")]
    pub kind: ExposureType,
    /// Settings of the Ingress.
    pub ingress: Ingress,
    /// Settings of the HTTPRoute.
    pub gateway: Gateway,
    /// Where TLS ends.
    pub tls: Tls,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExposureType {
    #[default]
    Ingress,
    Gateway,
    None,
}

/// Settings of the Ingress.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ingress {
    /// The IngressClass.
    #[schemars(length(min = 1, max = 253))]
    pub class_name: String,
    /// More annotations of the Ingress; snippets are refused.
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[schemars(transform = rules(&[
        (
            "self.all(key, !key.lowerAscii().contains('snippet'))",
            "exposure.ingress.annotations must hold no snippet: it would run in the shared NGINX",
        ),
        (
            "self.all(key, !self[key].contains('\\n') && !self[key].contains('\\r'))",
            "exposure.ingress.annotations must hold no line break",
        ),
    ]))]
    pub annotations: BTreeMap<String, String>,
}

impl Default for Ingress {
    fn default() -> Self {
        Self {
            class_name: "nginx".into(),
            annotations: BTreeMap::new(),
        }
    }
}

/// Settings of the HTTPRoute.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// The Gateways of this namespace that carry the route.
    #[schemars(length(max = 8))]
    pub parent_refs: Vec<ParentRef>,
}

/// A Gateway of this namespace.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// One listener of it; all of them when not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// Where TLS ends.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rules(&[
    (
        "(self.mode == 'Secret') == has(self.secretName)",
        "exposure.tls.secretName belongs to exposure.tls.mode Secret, and to it alone",
    ),
    (
        "(self.mode == 'CertManager') == has(self.issuerRef)",
        "exposure.tls.issuerRef belongs to exposure.tls.mode CertManager, and to it alone",
    ),
]))]
pub struct Tls {
    /// `Disabled` (plain HTTP), `External` (TLS ends before us, as at a Gateway), `Secret` or
    /// `CertManager`.
    pub mode: TlsMode,
    /// The Secret with `tls.crt` and `tls.key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// The cert-manager issuer that makes the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsMode {
    #[default]
    Disabled,
    External,
    Secret,
    CertManager,
}

/// A cert-manager issuer.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// `Issuer` (of this namespace) or `ClusterIssuer`.
    #[serde(default = "issuer")]
    #[schemars(regex(pattern = "^(Issuer|ClusterIssuer)$"))]
    pub kind: String,
}

fn issuer() -> String {
    "Issuer".into()
}
