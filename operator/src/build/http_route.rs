//! The public paths, for the Gateway API.

use chat_events::routes::ROUTES;
use serde_json::{Value, json};

use super::{foreign, meta, service};
use crate::resources::Resources;
use crate::validate::{Exposure, Validated};

pub fn build(chat: &Validated, out: &mut Resources) {
    let Exposure::Gateway { parents, .. } = &chat.exposure else {
        return;
    };
    let parents: Vec<Value> = parents
        .iter()
        .map(|(name, section)| match section {
            Some(section) => json!({ "name": name, "sectionName": section }),
            None => json!({ "name": name }),
        })
        .collect();
    let rules: Vec<Value> = ROUTES
        .iter()
        .map(|route| {
            let mut rule = json!({
                "matches": [{ "path": { "type": "PathPrefix", "value": route.prefix } }],
                "backendRefs": [{
                    "name": service::behind(chat, route.backend),
                    "port": service::HTTP,
                }],
            });
            if route.socket {
                // Never: a socket lives as long as its token.
                rule["timeouts"] = json!({ "request": "0s" });
            }
            rule
        })
        .collect();
    let spec = json!({ "parentRefs": parents, "hostnames": [chat.host], "rules": rules });
    let mut metadata = meta::object(chat, "route", "");
    metadata.name = Some(chat.name.clone());
    let version = "gateway.networking.k8s.io/v1";
    out.foreign
        .push(foreign::object(version, "HTTPRoute", metadata, spec));
}
