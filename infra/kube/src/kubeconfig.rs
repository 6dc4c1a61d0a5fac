//! The file by which every client of Kubernetes gets in. JSON, which is YAML, too.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::certs::Identity;

/// Gets in with a client certificate.
pub fn with_certificate(url: &str, authority: &str, identity: &Identity) -> String {
    let user = json!({
        "client-certificate-data": BASE64_STANDARD.encode(&identity.certificate),
        "client-key-data": BASE64_STANDARD.encode(&identity.key),
    });
    render(url, authority, user)
}

/// Gets in with a ServiceAccount's token.
pub fn with_token(url: &str, authority: &str, token: &str) -> String {
    render(url, authority, json!({ "token": token }))
}

fn render(url: &str, authority: &str, user: Value) -> String {
    let cluster = json!({
        "server": url,
        "certificate-authority-data": BASE64_STANDARD.encode(authority),
    });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "local", "cluster": cluster }],
        "users": [{ "name": "me", "user": user }],
        "contexts": [{ "name": "local", "context": { "cluster": "local", "user": "me" } }],
        "current-context": "local",
    })
    .to_string()
}
