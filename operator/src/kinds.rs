//! Every kind of object that the operator makes: one table for watches, writes
//! and rights.

use kube::core::{ApiResource, GroupVersionKind};

use crate::facts::Api;

/// One kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub name: &'static str,
    pub plural: &'static str,
    pub watch: Watch,
}

/// What the operator needs to see of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Its metadata, whose resource version tells of every change.
    Version,
    /// Its metadata, whose generation tells of every change of the spec.
    Generation,
    /// Its status too.
    Status,
    /// Its spec too, as it has no generation and its status changes all the time.
    Spec,
}

impl Kind {
    const fn new(
        group: &'static str,
        version: &'static str,
        name: &'static str,
        plural: &'static str,
        watch: Watch,
    ) -> Self {
        Self {
            group,
            version,
            name,
            plural,
            watch,
        }
    }

    pub fn resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.name);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// The name of the CustomResourceDefinition that would define it.
    pub fn definition(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// Whether the metadata alone is watched.
    pub fn metadata_only(&self) -> bool {
        matches!(self.watch, Watch::Version | Watch::Generation)
    }
}

pub const SERVICE_ACCOUNT: Kind = Kind::new(
    "",
    "v1",
    "ServiceAccount",
    "serviceaccounts",
    Watch::Version,
);
pub const SECRET: Kind = Kind::new("", "v1", "Secret", "secrets", Watch::Version);
pub const CONFIG_MAP: Kind = Kind::new("", "v1", "ConfigMap", "configmaps", Watch::Version);
pub const NETWORK_POLICY: Kind = Kind::new(
    "networking.k8s.io",
    "v1",
    "NetworkPolicy",
    "networkpolicies",
    Watch::Generation,
);
pub const SERVICE: Kind = Kind::new("", "v1", "Service", "services", Watch::Version);
pub const STATEFUL_SET: Kind =
    Kind::new("apps", "v1", "StatefulSet", "statefulsets", Watch::Status);
pub const JOB: Kind = Kind::new("batch", "v1", "Job", "jobs", Watch::Status);
pub const DEPLOYMENT: Kind = Kind::new("apps", "v1", "Deployment", "deployments", Watch::Status);
pub const POD_DISRUPTION_BUDGET: Kind = Kind::new(
    "policy",
    "v1",
    "PodDisruptionBudget",
    "poddisruptionbudgets",
    Watch::Generation,
);
pub const AUTOSCALER: Kind = Kind::new(
    "autoscaling",
    "v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    Watch::Spec,
);
pub const INGRESS: Kind = Kind::new(
    "networking.k8s.io",
    "v1",
    "Ingress",
    "ingresses",
    Watch::Generation,
);

/// Kinds that every cluster has, in the order in which they are applied.
pub static BUILT_IN: [Kind; 11] = [
    SERVICE_ACCOUNT,
    SECRET,
    CONFIG_MAP,
    NETWORK_POLICY,
    SERVICE,
    STATEFUL_SET,
    JOB,
    DEPLOYMENT,
    POD_DISRUPTION_BUDGET,
    AUTOSCALER,
    INGRESS,
];

/// Kinds of other operators.
pub static FOREIGN: [Kind; 7] = [
    Kind::new(
        "postgresql.cnpg.io",
        "v1",
        "Cluster",
        "clusters",
        Watch::Status,
    ),
    Kind::new(
        "postgresql.cnpg.io",
        "v1",
        "Database",
        "databases",
        Watch::Status,
    ),
    Kind::new(
        "rabbitmq.com",
        "v1beta1",
        "RabbitmqCluster",
        "rabbitmqclusters",
        Watch::Status,
    ),
    Kind::new(
        "keda.sh",
        "v1alpha1",
        "ScaledObject",
        "scaledobjects",
        Watch::Status,
    ),
    Kind::new(
        "gateway.networking.k8s.io",
        "v1",
        "HTTPRoute",
        "httproutes",
        Watch::Status,
    ),
    Kind::new(
        "cert-manager.io",
        "v1",
        "Certificate",
        "certificates",
        Watch::Status,
    ),
    Kind::new(
        "monitoring.coreos.com",
        "v1",
        "ServiceMonitor",
        "servicemonitors",
        Watch::Generation,
    ),
];

/// The kind of one of ours, by its name.
pub fn by_name(name: &str) -> Option<&'static Kind> {
    BUILT_IN
        .iter()
        .chain(&FOREIGN)
        .find(|kind| kind.name == name)
}

/// What a cluster can do that has this kind.
pub fn api(kind: &Kind) -> Option<Api> {
    Some(match kind.name {
        "Cluster" | "Database" => Api::CloudNativePg,
        "RabbitmqCluster" => Api::RabbitmqCluster,
        "ScaledObject" => Api::Keda,
        "HTTPRoute" => Api::HttpRoute,
        "Certificate" => Api::CertManager,
        "ServiceMonitor" => Api::ServiceMonitor,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_definitions_are_unique() {
        let kinds = || BUILT_IN.iter().chain(&FOREIGN);
        for kind in kinds() {
            assert_eq!(kinds().filter(|other| other.name == kind.name).count(), 1);
            assert_eq!(
                kinds()
                    .filter(|other| other.definition() == kind.definition())
                    .count(),
                1
            );
        }
    }

    #[test]
    fn every_foreign_kind_belongs_to_an_api() {
        assert!(FOREIGN.iter().all(|kind| api(kind).is_some()));
        assert!(BUILT_IN.iter().all(|kind| api(kind).is_none()));
    }
}
