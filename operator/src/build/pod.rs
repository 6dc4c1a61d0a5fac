//! What every pod of the chat itself has: hardening, scheduling and files. It is
//! added last, so that nothing else can take it away.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, KeyToPath, LocalObjectReference, PodSecurityContext, PodSpec,
    ProjectedVolumeSource, SeccompProfile, SecretProjection, SecurityContext, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
};

use super::secret::File;
use super::{meta, settings};
use crate::crd;
use crate::validate::{Overrides, Validated};

/// The user of every process; no image is asked for its own.
pub const USER: i64 = 10_001;

/// Restricted Pod Security and more, on whatever the pod is otherwise.
pub fn harden(chat: &Validated, mut pod: PodSpec) -> PodSpec {
    pod.automount_service_account_token = Some(false);
    pod.enable_service_links = Some(false);
    pod.security_context = Some(PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    });
    let references = chat.pull_secrets.iter().cloned();
    pod.image_pull_secrets = filled(
        references
            .map(|name| LocalObjectReference { name })
            .collect(),
    );
    for container in &mut pod.containers {
        container.security_context = Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".into()]),
                add: None,
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        });
    }
    pod
}

/// Where the pod may run: the chat's rules, then those of the part.
pub fn schedule(chat: &Validated, part: &str, spreads: bool, own: &Overrides, pod: &mut PodSpec) {
    let common = &chat.scheduling;
    let mut nodes = common.node_selector.clone();
    nodes.extend(own.spec.node_selector.clone());
    pod.node_selector = Some(nodes).filter(|nodes| !nodes.is_empty());
    let mut tolerations: Vec<_> = common.tolerations.iter().map(toleration).collect();
    tolerations.extend(own.spec.tolerations.clone());
    pod.tolerations = filled(tolerations);
    pod.affinity = own.spec.affinity.clone();
    pod.priority_class_name = own
        .spec
        .priority_class_name
        .clone()
        .or_else(|| Some(common.priority_class_name.clone()))
        .filter(|name| !name.is_empty());
    let spreads = spreads && common.topology_spread == crd::TopologySpread::Default;
    pod.topology_spread_constraints = own
        .spec
        .topology_spread_constraints
        .clone()
        .or_else(|| spreads.then(|| spread(chat, part)));
}

/// Over zones and nodes where there are some, and anywhere else where there are none.
fn spread(chat: &Validated, part: &str) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.into(),
            when_unsatisfiable: "ScheduleAnyway".into(),
            label_selector: Some(meta::selector(chat, part)),
            ..TopologySpreadConstraint::default()
        })
        .into()
}

fn toleration(toleration: &crd::Toleration) -> Toleration {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    Toleration {
        key: text(&toleration.key),
        operator: text(&toleration.operator),
        value: text(&toleration.value),
        effect: text(&toleration.effect),
        toleration_seconds: None,
    }
}

/// Files from Secrets, for a container that reads settings from them.
pub fn mount_secrets(files: &[File], pod: &mut PodSpec, container: &mut Container) {
    let projections = files.iter().map(|file| VolumeProjection {
        secret: Some(SecretProjection {
            name: file.source.0.clone(),
            items: Some(vec![KeyToPath {
                key: file.source.1.clone(),
                path: file.setting.into(),
                mode: None,
            }]),
            optional: None,
        }),
        ..VolumeProjection::default()
    });
    let volume = Volume {
        name: "secrets".into(),
        projected: Some(ProjectedVolumeSource {
            // Only the group of the pod reads them.
            default_mode: Some(0o440),
            sources: Some(projections.collect()),
        }),
        ..Volume::default()
    };
    pod.volumes.get_or_insert_default().push(volume);
    container
        .volume_mounts
        .get_or_insert_default()
        .push(mount("secrets", settings::SECRETS, true));
}

pub fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn filled<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}
