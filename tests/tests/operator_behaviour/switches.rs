//! `paused` and `stopped`.

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::harness::{Place, small};
use super::process::PATIENCE;
use super::quiet::falls_silent;

#[tokio::test]
async fn a_paused_chat_is_left_as_it_is_and_still_reported() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    place
        .patch("demo", json!({"spec": {"paused": true}}))
        .await?;
    place.becomes("demo", "Paused", "True", "Paused").await?;

    let deployments = place.api_of("Deployment")?;
    let fewer = Patch::Merge(json!({"spec": {"replicas": 0}}));
    deployments
        .patch("demo-auth", &PatchParams::default(), &fewer)
        .await?;
    // The status follows, which proves that the operator has looked.
    place
        .becomes("demo", "Ready", "False", "AuthNotReady")
        .await?;
    assert_eq!(
        deployments.get("demo-auth").await?.data["spec"]["replicas"],
        0
    );

    place
        .patch("demo", json!({"spec": {"paused": false}}))
        .await?;
    place.ready("demo").await?;
    place.becomes("demo", "Paused", "False", "Active").await?;
    ensure!(deployments.get("demo-auth").await?.data["spec"]["replicas"] != 0);
    Ok(())
}

#[tokio::test]
async fn a_stopped_chat_keeps_volumes_and_secrets_and_starts_again() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let kept = async || -> Result<Vec<(String, Value)>> {
        let children = place.children("demo").await?;
        let secrets = children
            .into_iter()
            .filter(|((kind, _), _)| kind == "Secret");
        let mut kept: Vec<_> = secrets
            .map(|((_, name), it)| (name, it.data["data"].clone()))
            .collect();
        let volumes = place
            .api("", "v1", "PersistentVolumeClaim")
            .list(&ListParams::default())
            .await?;
        kept.extend(volumes.iter().map(|it| (it.name_any(), json!(it.uid()))));
        Ok(kept)
    };
    let before = kept().await?;
    ensure!(
        before.iter().any(|(name, _)| name.contains("postgres-0")),
        "no volume: {before:?}"
    );

    place
        .patch("demo", json!({"spec": {"stopped": true}}))
        .await?;
    place.becomes("demo", "Ready", "False", "Stopped").await?;
    await_until("no pod is left", PATIENCE, async || {
        let pods = place
            .api("", "v1", "Pod")
            .list(&ListParams::default())
            .await?;
        let running = pods
            .iter()
            .filter(|pod| pod.data["status"]["phase"] == "Running");
        Ok((running.count() == 0).then_some(()))
    })
    .await?;
    place
        .becomes("demo", "Reconciling", "False", "Stopped")
        .await?;
    assert_eq!(kept().await?, before);

    place
        .patch("demo", json!({"spec": {"stopped": false}}))
        .await?;
    place.ready("demo").await?;
    assert_eq!(kept().await?, before);
    Ok(())
}

#[tokio::test]
async fn stores_stop_when_the_last_pod_of_a_service_has_ended() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    // A pod without a node ends at once. This one has a node without a kubelet, where
    // it takes as long as the test likes.
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": place.name()}});
    place.access.apply(&node.to_string()).await?;
    let pods = place.api("", "v1", "Pod");
    let of_auth = ListParams::default()
        .labels("app.kubernetes.io/instance=demo,app.kubernetes.io/component=auth");
    let pod = pods.list(&of_auth).await?.items;
    let pod = pod.first().context("no pod of auth")?.name_any();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
        "target": {"kind": "Node", "name": place.name()},
    });
    let _: Value = pods
        .create_subresource("binding", &pod, &PostParams::default(), &binding)
        .await?;

    place
        .patch("demo", json!({"spec": {"stopped": true}}))
        .await?;
    let deployments = place.api_of("Deployment")?;
    await_until("one pod is left, and ending", PATIENCE, async || {
        let all = deployments.list(&ListParams::default()).await?;
        let count = |field: &str| -> i64 {
            let counts = all.iter().map(|it| it.data["status"][field].as_i64());
            counts.map(Option::unwrap_or_default).sum()
        };
        Ok((count("replicas") == 0 && count("terminatingReplicas") == 1).then_some(()))
    })
    .await?;
    falls_silent(&place).await?;
    let stores = async || -> Result<Vec<Value>> {
        let sets = place.api_of("StatefulSet")?;
        let sets = sets.list(&ListParams::default()).await?;
        Ok(sets
            .iter()
            .map(|it| it.data["spec"]["replicas"].clone())
            .collect())
    };
    assert_eq!(stores().await?, [1, 1, 1]);
    place
        .becomes("demo", "Reconciling", "True", "Stopping")
        .await?;

    pods.delete(&pod, &DeleteParams::default().grace_period(0))
        .await?;
    await_until("the stores stop", PATIENCE, async || {
        Ok((stores().await? == [0, 0, 0]).then_some(()))
    })
    .await?;
    place
        .becomes("demo", "Reconciling", "False", "Stopped")
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_larger_volume_is_made_around_running_pods() -> Result<()> {
    let place = Place::new().await?;
    let class: Value = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "growing"}, "provisioner": "example.com/none",
        "allowVolumeExpansion": true,
    });
    place.access.apply(&class.to_string()).await?;
    let _operator = place.operator()?;
    let spec = |size: &str| {
        json!({
            "host": "chat.example.com",
            "postgres": {"managed": {"storage": size, "storageClassName": "growing"}},
        })
    };
    place.apply("demo", spec("1Gi")).await?;
    place.ready("demo").await?;
    // Nothing provisions volumes here, and only a bound claim may grow.
    let claims = place.api("", "v1", "PersistentVolumeClaim");
    let bound = Patch::Merge(json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}));
    claims
        .patch_status("data-demo-postgres-0", &PatchParams::default(), &bound)
        .await?;
    let pods = place.api("", "v1", "Pod");
    let before = pods.get("demo-postgres-0").await?.uid();

    place.apply("demo", spec("2Gi")).await?;
    let sets = place.api_of("StatefulSet")?;
    let size = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
    await_until("the StatefulSet asks for more", PATIENCE, async || {
        let set = sets.get("demo-postgres").await?;
        Ok((set.data.pointer(size) == Some(&json!("2Gi"))).then_some(()))
    })
    .await?;
    let claim = claims.get("data-demo-postgres-0").await?;
    assert_eq!(
        claim.data["spec"]["resources"]["requests"]["storage"],
        "2Gi"
    );
    assert_eq!(pods.get("demo-postgres-0").await?.uid(), before);
    place.ready("demo").await
}
