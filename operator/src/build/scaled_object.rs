//! Replicas by CPU and by open sockets, for clusters with KEDA.

use serde_json::json;

use super::{autoscaler, foreign, meta, service};
use crate::crd::AutoscalingType;
use crate::resources::Resources;
use crate::validate::{Part, Validated};

pub fn build(chat: &Validated, out: &mut Resources) {
    for (part, workload) in &chat.parts {
        let scaling = &workload.autoscaling;
        if workload.replicas.is_some() || scaling.kind != AutoscalingType::Keda {
            continue;
        }
        let mut triggers = vec![json!({
            "type": "cpu",
            "metricType": "Utilization",
            "metadata": { "value": autoscaler::CPU.to_string() },
        })];
        if let Part::Service(name) = part
            && service::has_sockets(*name)
        {
            triggers.push(sockets(chat, *part));
        }
        let spec = json!({
            "scaleTargetRef": { "name": meta::name(chat, part.name()) },
            "minReplicaCount": scaling.min,
            "maxReplicaCount": scaling.max,
            "triggers": triggers,
        });
        let metadata = meta::object(chat, part.name(), "");
        out.foreign.push(foreign::object(
            "keda.sh/v1alpha1",
            "ScaledObject",
            metadata,
            spec,
        ));
    }
}

/// A pod more before those that run hold as many sockets as they may.
fn sockets(chat: &Validated, part: Part) -> serde_json::Value {
    let each = i64::from(chat.max_connections_per_pod) * 7 / 10;
    let url = format!(
        "http://{}.{}.svc:{}/metrics",
        meta::name(chat, part.name()),
        chat.namespace,
        service::ADMIN
    );
    json!({
        "type": "metrics-api",
        "metadata": {
            "url": url,
            "format": "prometheus",
            "valueLocation": "chat_sockets",
            "aggregateFromKubeServiceEndpoints": "true",
            "aggregationType": "sum",
            "targetValue": each.max(1).to_string(),
        },
    })
}
