//! Every object that one ChatCluster is made of.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DynamicObject;

/// One field a kind. `apply` takes it apart without `..`, so a kind that is
/// never applied does not compile. Objects that a former pass made and this
/// one does not hold are removed, except those in `held`.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    pub service_accounts: Vec<ServiceAccount>,
    pub secrets: Vec<Secret>,
    pub config_maps: Vec<ConfigMap>,
    pub network_policies: Vec<NetworkPolicy>,
    pub services: Vec<Service>,
    pub stateful_sets: Vec<StatefulSet>,
    pub jobs: Vec<Job>,
    pub deployments: Vec<Deployment>,
    pub pod_disruption_budgets: Vec<PodDisruptionBudget>,
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
    pub ingresses: Vec<Ingress>,
    /// Kinds of other operators: CloudNativePG, RabbitMQ, KEDA, Gateway API,
    /// cert-manager and Prometheus. Built without types, with the fewest fields.
    pub foreign: Vec<DynamicObject>,
    /// Names of Deployments that wait for a migration, and of stores that wait for pods: neither
    /// changed nor removed in this pass.
    pub held: Vec<String>,
}
