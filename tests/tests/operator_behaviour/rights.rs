//! The operator uses every right that it is granted, and needs no other.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use chat_kube::audit::{Call, Mark};
use chat_kube::control_plane::Options;
use chat_kube::testing::own_control_plane;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use rstest::rstest;
use serde_json::{Value, json};

use super::harness::{KINDS, Place, rules};
use super::others;
use super::process::{Operator, PATIENCE};

/// Group, resource and verb.
type Right = (String, String, String);

/// What the server asks for when an owner is set that blocks its own deletion: no call,
/// so that the audit log does not show it. See the last test.
const FINALIZERS: (&str, &str, &str) = ("chatcluster.io", "chatclusters/finalizers", "update");

async fn granted(roles: &[&str]) -> Result<BTreeSet<Right>> {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        let texts = rule[field].as_array().into_iter().flatten();
        texts
            .filter_map(|it| it.as_str().map(str::to_owned))
            .collect()
    };
    let mut granted = BTreeSet::new();
    for role in roles {
        for rule in rules(role).await? {
            for group in texts(&rule, "apiGroups") {
                for resource in texts(&rule, "resources") {
                    for verb in texts(&rule, "verbs") {
                        granted.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    Ok(granted)
}

/// All of the operator's calls, those for its Lease among them.
fn calls(place: &Place, mark: Mark) -> Result<Vec<Call>> {
    let calls = place.access.audit().calls_since(mark)?;
    let user = place.user();
    Ok(calls.into_iter().filter(|call| call.user == user).collect())
}

fn used(calls: &[Call]) -> BTreeSet<Right> {
    let of = |call: &Call, verb: &str| {
        let right = (call.group.clone(), call.resource.clone(), verb.to_owned());
        // The kinds of a cluster are no resource: everybody may ask for them.
        (!call.resource.starts_with('/')).then_some(right)
    };
    // To apply what is not there takes both rights.
    let made = calls
        .iter()
        .filter(|call| call.verb == "patch" && call.code == 201);
    let made = made.filter_map(|call| of(call, "create"));
    made.chain(calls.iter().filter_map(|call| of(call, &call.verb)))
        .collect()
}

/// Two chats that have an object of every kind between them.
async fn everything(place: &Place) -> Result<()> {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "growing"}, "provisioner": "example.com/none",
        "allowVolumeExpansion": true,
    });
    place.access.apply(&class.to_string()).await?;
    place.apply("demo", with_volume("1Gi")).await?;
    let gateway = json!({
        "host": "other.example.com",
        "exposure": {"type": "Gateway", "gateway": {"parentRefs": [{"name": "main"}]}},
    });
    place.apply("other", gateway).await?;
    for chat in ["demo", "other"] {
        await_until("a chat is ready", PATIENCE, async || {
            others::are_well(place, chat).await?;
            let ready = place.condition(chat, "Ready").await?;
            ensure!(ready["status"] == "True", "{ready}");
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

fn with_volume(size: &str) -> Value {
    json!({
        "host": "chat.example.com",
        "exposure": {"tls": {"mode": "CertManager", "issuerRef": {"name": "ca"}}},
        "postgres": {"mode": "Delegated"},
        "rabbitmq": {"mode": "Delegated"},
        "redis": {"managed": {"storage": size, "storageClassName": "growing"}},
        "services": {
            "auth": {"replicas": 2},
            "web": {"autoscaling": {"type": "Hpa", "min": 2, "max": 3}},
            "socketHandler": {"autoscaling": {"type": "Keda", "min": 1, "max": 3}},
        },
    })
}

/// One of each kind loses the label by which it is watched, and is found again by name.
async fn lose_labels(place: &Place) -> Result<()> {
    let label = "app.kubernetes.io/managed-by";
    let mut tried = BTreeSet::new();
    for chat in ["demo", "other"] {
        let kinds = [&KINDS[..], &others::KINDS].concat();
        for ((kind, name), _) in place.children_of(chat, &kinds).await? {
            if !tried.insert(kind.clone()) {
                continue;
            }
            let api = place.api_of(&kind)?;
            let bare = Patch::Merge(json!({"metadata": {"labels": {label: null}}}));
            api.patch(&name, &PatchParams::default(), &bare).await?;
            await_until("the label is back", PATIENCE, async || {
                let labels = api.get(&name).await?;
                Ok(labels.labels().contains_key(label).then_some(()))
            })
            .await
            .with_context(|| format!("{kind} {name}"))?;
        }
    }
    ensure!(
        tried.len() == KINDS.len() + others::KINDS.len(),
        "{tried:?}"
    );
    Ok(())
}

/// One of each kind that another release may have made, and this one does not want.
async fn leave_over(place: &Place) -> Result<()> {
    let chat = place.chat("demo").await?;
    let owner = json!({
        "apiVersion": "chatcluster.io/v1alpha1", "kind": "ChatCluster", "name": "demo",
        "uid": chat.uid(), "controller": true,
    });
    for (group, version, kind) in KINDS.iter().chain(&others::KINDS) {
        let api = place.api_of(kind)?;
        let version = format!("{group}/{version}");
        let mut object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": version.trim_start_matches('/'), "kind": kind,
            "metadata": {
                "name": "demo-left-over",
                "labels": {
                    "app.kubernetes.io/managed-by": "chat-operator",
                    "app.kubernetes.io/instance": "demo",
                },
                "ownerReferences": [owner],
            },
        }))?;
        object.data = least(kind);
        api.create(&PostParams::default(), &object)
            .await
            .with_context(|| (*kind).to_owned())?;
        await_until("it is removed", PATIENCE, async || {
            let left = api.get_opt("demo-left-over").await?;
            Ok(left
                .is_none_or(|it| it.metadata.deletion_timestamp.is_some())
                .then_some(()))
        })
        .await
        .with_context(|| (*kind).to_owned())?;
    }
    Ok(())
}

/// The least that an object of this kind must have; none of them runs anything.
fn least(kind: &str) -> Value {
    let labels = json!({"none": "such"});
    let selector = json!({"matchLabels": labels});
    let containers = json!([{"name": "none", "image": "none"}]);
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": containers}});
    match kind {
        "ServiceAccount" | "Secret" | "ConfigMap" => json!({}),
        "NetworkPolicy" => json!({"spec": {"podSelector": selector}}),
        "Service" => json!({"spec": {"ports": [{"port": 1234}]}}),
        "StatefulSet" | "Deployment" => {
            json!({"spec": {"replicas": 0, "selector": selector, "template": template}})
        }
        "Job" => json!({"spec": {"suspend": true, "template": {"spec": {
            "containers": containers, "restartPolicy": "Never",
        }}}}),
        "PodDisruptionBudget" => json!({"spec": {"selector": selector}}),
        "HorizontalPodAutoscaler" => json!({"spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"},
            "maxReplicas": 1,
        }}),
        "Ingress" => json!({"spec": {"defaultBackend": {
            "service": {"name": "none", "port": {"number": 1}},
        }}}),
        _ => json!({"spec": {}}),
    }
}

/// A volume that grows, and the same event twice.
async fn grow_and_pause(place: &Place) -> Result<()> {
    let claims = place.api("", "v1", "PersistentVolumeClaim");
    let bound = Patch::Merge(json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}));
    claims
        .patch_status("data-demo-redis-0", &PatchParams::default(), &bound)
        .await?;
    place.apply("demo", with_volume("2Gi")).await?;
    for (paused, status) in [(true, "True"), (false, "False"), (true, "True")] {
        let spec = json!({"spec": {"paused": paused}});
        place.patch("demo", spec).await?;
        let what = format!("it is paused: {status}");
        await_until(&what, PATIENCE, async || {
            let condition = place.condition("demo", "Paused").await?;
            Ok((condition["status"] == status).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[rstest]
#[case::of_the_whole_cluster("--cluster")]
#[case::of_named_namespaces("--namespaces")]
#[tokio::test]
async fn every_right_is_used_and_no_other_is_wanted(#[case] scope: &str) -> Result<()> {
    let plane = own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    others::define(&place, &others::KINDS.map(|(_, _, kind)| kind)).await?;
    let mark = place.access.audit().mark()?;
    let operator: Operator = match scope {
        "--cluster" => place.cluster_operator().await?,
        _ => place.operator()?,
    };
    operator.says("leads").await?;
    let log = || operator.log().unwrap_or_default();
    everything(&place).await.with_context(log)?;
    lose_labels(&place).await.with_context(log)?;
    leave_over(&place).await.with_context(log)?;
    grow_and_pause(&place).await.with_context(log)?;

    let mut granted = granted(&[scope, "--own"]).await?;
    let (group, resource, verb) = FINALIZERS;
    granted.remove(&(group.to_owned(), resource.to_owned(), verb.to_owned()));
    await_until(
        "every right that is granted is used",
        PATIENCE,
        async || {
            let used = used(&calls(&place, mark)?);
            let unused: Vec<_> = granted.difference(&used).collect();
            ensure!(unused.is_empty(), "{unused:?}");
            Ok(Some(()))
        },
    )
    .await?;
    let calls = calls(&place, mark)?;
    let used = used(&calls);
    let more: Vec<_> = used.difference(&granted).collect();
    ensure!(more.is_empty(), "{more:?}");
    let refused: Vec<_> = calls.iter().filter(|call| call.code == 403).collect();
    ensure!(refused.is_empty(), "{refused:?}");
    Ok(())
}

/// An account of this name with all rights of the operator in the namespace but one.
async fn without(place: &Place, name: &str, lacks: Option<&str>) -> Result<Client> {
    let rules: Vec<Value> = rules("--namespaces")
        .await?
        .into_iter()
        .filter(|rule| lacks.is_none_or(|lacks| rule["resources"] != json!([lacks])))
        .collect();
    let metadata = json!({"name": name});
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": metadata}))?;
    let role: Role = serde_json::from_value(json!({"metadata": metadata, "rules": rules}))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": place.name()}],
    }))?;
    let (client, parameters) = (place.client.clone(), PostParams::default());
    Api::namespaced(client.clone(), place.name())
        .create(&parameters, &account)
        .await?;
    Api::namespaced(client.clone(), place.name())
        .create(&parameters, &role)
        .await?;
    Api::namespaced(client, place.name())
        .create(&parameters, &binding)
        .await?;
    let access = &place.access;
    let kubeconfig = access
        .kubeconfig_of_service_account(place.name(), name)
        .await?;
    access.client_of(&kubeconfig).await
}

#[tokio::test]
async fn an_owner_that_blocks_takes_the_right_to_its_finalizers() -> Result<()> {
    let plane = own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    place.apply("demo", super::harness::small()).await?;
    let chat = place.chat("demo").await?;
    let child = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "child", "ownerReferences": [{
            "apiVersion": "chatcluster.io/v1alpha1", "kind": "ChatCluster", "name": "demo",
            "uid": chat.uid(), "controller": true, "blockOwnerDeletion": true,
        }]},
    });
    let make = async |client: Client| {
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> =
            Api::namespaced(client, place.name());
        let parameters = PatchParams::apply("somebody");
        maps.patch("child", &parameters, &Patch::Apply(&child))
            .await
    };
    let all = without(&place, "all", None).await?;
    await_until("the rights are known", PATIENCE, async || {
        Ok(Some(make(all.clone()).await?))
    })
    .await?;
    place
        .api_of("ConfigMap")?
        .delete("child", &kube::api::DeleteParams::default())
        .await?;
    let less = without(&place, "less", Some(FINALIZERS.1)).await?;
    await_until("it is refused for the owner", PATIENCE, async || {
        let Err(kube::Error::Api(refused)) = make(less.clone()).await else {
            return Ok(None);
        };
        Ok(refused.message.contains("blockOwnerDeletion").then_some(()))
    })
    .await
}
