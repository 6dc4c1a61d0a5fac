//! Replicas by CPU.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};

use super::meta;
use crate::crd::AutoscalingType;
use crate::resources::Resources;
use crate::validate::{Part, Validated, Workload};

/// Per cent of the requested CPU.
pub const CPU: i32 = 70;

pub fn build(chat: &Validated, out: &mut Resources) {
    out.autoscalers.extend(
        chat.parts
            .iter()
            .filter(|(_, it)| it.replicas.is_none() && it.autoscaling.kind == AutoscalingType::Hpa)
            .map(|(part, workload)| autoscaler(chat, *part, workload)),
    );
}

fn autoscaler(chat: &Validated, part: Part, workload: &Workload) -> HorizontalPodAutoscaler {
    HorizontalPodAutoscaler {
        metadata: meta::object(chat, part.name(), ""),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".into()),
                kind: "Deployment".into(),
                name: meta::name(chat, part.name()),
            },
            min_replicas: Some(workload.autoscaling.min),
            max_replicas: workload.autoscaling.max,
            metrics: Some(vec![MetricSpec {
                type_: "Resource".into(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".into(),
                    target: MetricTarget {
                        type_: "Utilization".into(),
                        average_utilization: Some(CPU),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            ..HorizontalPodAutoscalerSpec::default()
        },
        ..HorizontalPodAutoscaler::default()
    }
}
