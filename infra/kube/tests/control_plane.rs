//! The shared control plane: what a test may rely on.

use std::time::Duration;

use anyhow::Result;
use chat_kube::audit::{Call, count};
use chat_kube::testing::{TestNamespace, namespace};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use kube::api::{ListParams, PostParams, WatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

#[tokio::test]
async fn kubectl_talks_to_an_api_server_that_is_ready() -> Result<()> {
    let namespace = namespace().await;
    let ready = namespace.access.kubectl(&["get", "--raw", "/readyz"]).await;
    assert_eq!(ready?, "ok");
    let version = namespace.access.kubectl(&["version"]).await?;
    assert!(version.contains("Server Version: v1."), "{version}");
    let refused = namespace.access.kubectl(&["get", "nonsense"]).await;
    let error = refused.expect_err("there is no such kind").to_string();
    assert!(error.contains("nonsense"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_namespace_comes_with_its_service_account_and_is_removed_when_dropped() -> Result<()> {
    let first = namespace().await;
    let accounts: Api<ServiceAccount> = Api::namespaced(first.client.clone(), &first.name);
    accounts.get("default").await?;

    let (client, name) = (first.client.clone(), first.name.clone());
    drop(first);
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client);
    until("the namespace is gone", async || {
        Ok(namespaces.get_opt(&name).await?.is_none())
    })
    .await
}

#[tokio::test]
async fn a_deployment_makes_a_replica_set_and_pods() -> Result<()> {
    let namespace = namespace().await;
    let labels = json!({ "app": "web" });
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "namespace": namespace.name },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "web", "image": "example.org/web:1" }] },
            },
        },
    });
    namespace.access.apply(&deployment.to_string()).await?;

    let pods: Api<Pod> = Api::namespaced(namespace.client.clone(), &namespace.name);
    until("two Pods are made", async || {
        Ok(pods.list(&ListParams::default()).await?.items.len() == 2)
    })
    .await?;
    let sets: Api<ReplicaSet> = Api::namespaced(namespace.client.clone(), &namespace.name);
    let sets = sets.list(&ListParams::default()).await?;
    assert_eq!(sets.items.len(), 1);
    for pod in pods.list(&ListParams::default()).await? {
        assert_eq!(pod.owner_references()[0].name, sets.items[0].name_any());
    }
    Ok(())
}

#[tokio::test]
async fn an_object_without_its_owner_is_collected() -> Result<()> {
    let namespace = namespace().await;
    let maps: Api<ConfigMap> = Api::namespaced(namespace.client.clone(), &namespace.name);
    let owner = maps
        .create(&PostParams::default(), &config_map("owner"))
        .await?;
    let mut owned = config_map("owned");
    owned.metadata.owner_references = kube::Resource::owner_ref(&owner, &()).map(|it| vec![it]);
    maps.create(&PostParams::default(), &owned).await?;
    maps.delete("owner", &kube::api::DeleteParams::background())
        .await?;
    until("the owned one is gone", async || {
        Ok(maps.get_opt("owned").await?.is_none())
    })
    .await
}

#[tokio::test]
async fn helm_installs_a_chart_and_takes_it_away() -> Result<()> {
    let namespace = namespace().await;
    let chart = namespace.access.folder.join(&namespace.name);
    let chart = chart.display().to_string();
    let helm = async |arguments: &[&str]| {
        let with_namespace = [arguments, &["--namespace", &namespace.name]].concat();
        namespace.access.helm(&with_namespace).await
    };
    helm(&["create", &chart]).await?;
    helm(&["install", "web", &chart]).await?;
    let list = helm(&["list", "--short"]).await?;
    assert_eq!(list.trim(), "web");
    helm(&["uninstall", "web"]).await?;
    assert_eq!(helm(&["list", "--short"]).await?.trim(), "");
    Ok(())
}

#[tokio::test]
async fn a_user_may_do_only_what_rbac_allows() -> Result<()> {
    let namespace = namespace().await;
    let user = format!("{}-reader", namespace.name);
    let client = namespace.access.client_for(&user, None).await?;
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace.name);
    let refused = maps.list(&ListParams::default()).await;
    assert!(
        matches!(&refused, Err(kube::Error::Api(status)) if status.is_forbidden()),
        "{refused:?}"
    );

    let binding = [
        "create",
        "rolebinding",
        "reader",
        "--clusterrole=view",
        "-n",
        &namespace.name,
        "--user",
        &user,
    ];
    namespace.access.kubectl(&binding).await?;
    // The authoriser hears of the binding by a watch.
    until("the user may list", async || {
        Ok(maps.list(&ListParams::default()).await.is_ok())
    })
    .await?;
    let refused = maps
        .create(&PostParams::default(), &config_map("mine"))
        .await;
    assert!(
        matches!(&refused, Err(kube::Error::Api(status)) if status.is_forbidden()),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_service_account_is_known_by_its_token() -> Result<()> {
    let namespace = namespace().await;
    let kubeconfig = namespace
        .access
        .kubeconfig_of_service_account(&namespace.name, "default")
        .await?;
    let kubeconfig = kubeconfig.display().to_string();
    let said = namespace
        .access
        .kubectl(&["auth", "whoami", "--kubeconfig", &kubeconfig])
        .await?;
    let name = format!("system:serviceaccount:{}:default", namespace.name);
    assert!(said.contains(&name), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_audit_log_counts_calls_by_user_verb_and_resource() -> Result<()> {
    let namespace = namespace().await;
    let audit = namespace.access.audit();
    let user = format!("{}-auditee", namespace.name);
    let client = namespace
        .access
        .client_for(&user, Some("system:masters"))
        .await?;
    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace.name);
    let mark = audit.mark()?;
    for name in ["one", "two", "three"] {
        maps.create(&PostParams::default(), &config_map(name))
            .await?;
    }
    maps.get("one").await?;
    // A watch is counted while it lasts.
    let watch = maps.watch(&WatchParams::default(), "0").await?;

    let mine = || -> Result<Vec<Call>> {
        let calls = audit.calls_since(mark)?;
        Ok(calls.into_iter().filter(|it| it.user == user).collect())
    };
    until("five calls are written down", async || {
        Ok(mine()?.len() >= 5)
    })
    .await?;
    drop(watch);
    let counts = count(&mine()?);
    let of = |verb: &str| {
        let key = (user.clone(), verb.to_owned(), "configmaps".to_owned());
        counts.get(&key).copied()
    };
    assert_eq!(
        (of("create"), of("get"), of("watch"), counts.len()),
        (Some(3), Some(1), Some(1), 3),
        "{counts:?}"
    );
    assert_eq!(mine()?.iter().filter(|it| it.is_write()).count(), 3);
    Ok(())
}

#[tokio::test]
async fn calls_of_the_control_plane_itself_are_not_written_down() -> Result<()> {
    let namespace = namespace().await;
    a_pod_by_a_controller(&namespace).await?;
    for call in namespace.access.audit().calls()? {
        assert!(
            !call.user.starts_with("system:kube-")
                && !call.user.starts_with("system:serviceaccount:kube-system:"),
            "{call:?}"
        );
    }
    Ok(())
}

async fn a_pod_by_a_controller(namespace: &TestNamespace) -> Result<()> {
    let deployment = [
        "create",
        "deployment",
        "web",
        "--image=example.org/web:1",
        "-n",
        &namespace.name,
    ];
    namespace.access.kubectl(&deployment).await?;
    let pods: Api<Pod> = Api::namespaced(namespace.client.clone(), &namespace.name);
    until("a Pod is made", async || {
        Ok(!pods.list(&ListParams::default()).await?.items.is_empty())
    })
    .await
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        ..ConfigMap::default()
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds().await? {
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "not within 60 s: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
