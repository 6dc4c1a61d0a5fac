//! Where Prometheus finds the metrics of the services.

use chat_events::Service;
use serde_json::json;

use super::{foreign, meta};
use crate::resources::Resources;
use crate::validate::Validated;

pub fn build(chat: &Validated, out: &mut Resources) {
    if !chat.service_monitor {
        return;
    }
    let mut labels = meta::selector_labels(chat, "");
    labels.remove("app.kubernetes.io/component");
    let services = Service::ALL.map(Service::name);
    let spec = json!({
        "selector": {
            "matchLabels": labels,
            "matchExpressions": [{
                "key": "app.kubernetes.io/component",
                "operator": "In",
                "values": services,
            }],
        },
        "targetLabels": ["app.kubernetes.io/instance", "app.kubernetes.io/component"],
        "endpoints": [{ "port": "admin", "path": "/metrics" }],
    });
    let mut metadata = meta::object(chat, "metrics", "");
    metadata.name = Some(chat.name.clone());
    let version = "monitoring.coreos.com/v1";
    out.foreign
        .push(foreign::object(version, "ServiceMonitor", metadata, spec));
}
