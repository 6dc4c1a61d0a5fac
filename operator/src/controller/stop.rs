//! The order in which a chat stops. No I/O.

use std::collections::BTreeMap;

use kube::core::DynamicObject;

use crate::children::state::pods;
use crate::children::{Child, Key};
use crate::resources::Resources;

/// Stores stop after the last pod of the services that use them has ended.
pub fn in_order(resources: &mut Resources, children: &BTreeMap<Key, Child>) {
    let runs = |((kind, _), child): (&Key, &Child)| *kind == "Deployment" && pods(child) > 0;
    if !children.iter().any(runs) {
        return;
    }
    let stores = resources.stateful_sets.drain(..);
    let stores = stores.filter_map(|store| store.metadata.name);
    let is_store = |it: &DynamicObject| {
        let kind = it.types.as_ref().map(|types| types.kind.as_str());
        matches!(kind, Some("Cluster" | "RabbitmqCluster"))
    };
    let delegated = resources
        .foreign
        .extract_if(.., |it| is_store(it))
        .filter_map(|store| store.metadata.name);
    resources.held.extend(stores.chain(delegated));
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSet;
    use kube::api::ObjectMeta;
    use serde_json::{Value, json};

    use super::*;
    use crate::chat::ChatRef;
    use crate::children::Children;
    use crate::kinds;

    fn resources() -> Resources {
        let foreign = |kind: &str| {
            let object = json!({
                "apiVersion": "v1", "kind": kind, "metadata": {"name": format!("demo-{kind}")},
            });
            serde_json::from_value(object).unwrap_or_else(|error| panic!("{error}"))
        };
        Resources {
            stateful_sets: vec![StatefulSet {
                metadata: ObjectMeta {
                    name: Some("demo-redis".into()),
                    ..ObjectMeta::default()
                },
                ..StatefulSet::default()
            }],
            foreign: ["Cluster", "Database", "RabbitmqCluster", "HTTPRoute"]
                .map(foreign)
                .into(),
            ..Resources::default()
        }
    }

    /// The names that are held while a Deployment has this status.
    fn held(status: &Value) -> Vec<String> {
        let children = Children::default();
        let deployment = json!({
            "metadata": {
                "name": "demo-auth", "namespace": "n", "uid": "u", "resourceVersion": "1",
                "labels": {
                    "app.kubernetes.io/managed-by": "chat-operator",
                    "app.kubernetes.io/instance": "demo",
                },
            },
            "status": status,
        });
        let deployment =
            serde_json::from_value(deployment).unwrap_or_else(|error| panic!("{error}"));
        let kind = kinds::by_name("Deployment").unwrap_or_else(|| panic!());
        children.see(kind, &deployment);
        let chat = ChatRef {
            namespace: "n".into(),
            name: "demo".into(),
        };
        let mut resources = resources();
        in_order(&mut resources, &children.of(&chat));
        let left = resources.stateful_sets.len() + resources.foreign.len();
        assert_eq!(left + resources.held.len(), 5);
        resources.held
    }

    #[test]
    fn stores_of_every_mode_are_held_while_a_pod_of_a_service_is_left() {
        let stores = ["demo-redis", "demo-Cluster", "demo-RabbitmqCluster"];
        assert_eq!(held(&json!({"replicas": 1})), stores);
        assert_eq!(
            held(&json!({"replicas": 0, "terminatingReplicas": 1})),
            stores
        );
        assert!(held(&json!({"terminatingReplicas": 0})).is_empty());
    }
}
