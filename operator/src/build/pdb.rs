//! At most one pod of a workload is evicted at a time. With one pod there is no
//! budget: it would hold up every drain of its node.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{deployment, meta};
use crate::resources::Resources;
use crate::validate::Validated;

pub fn build(chat: &Validated, out: &mut Resources) {
    let parts = chat.parts.iter().filter(|(_, it)| deployment::many(it));
    out.pod_disruption_budgets
        .extend(parts.map(|(part, _)| PodDisruptionBudget {
            metadata: meta::object(chat, part.name(), ""),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(meta::selector(chat, part.name())),
                // A pod that is not ready serves nobody.
                unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
                ..PodDisruptionBudgetSpec::default()
            }),
            ..PodDisruptionBudget::default()
        }));
}
