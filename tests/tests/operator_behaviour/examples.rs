//! The examples of the repository, on a cluster that knows every kind.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use chat_kube::control_plane::Options;
use chat_kube::testing::own_control_plane;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::harness::Place;
use super::others;
use super::process::PATIENCE;

/// Gives each Deployment the fewest replicas that its ScaledObject allows, as KEDA does.
async fn scale(place: &Place, chat: &str) -> Result<()> {
    let kind = [("keda.sh", "v1alpha1", "ScaledObject")];
    for (_, scaled) in place.children_of(chat, &kind).await? {
        let spec = &scaled.data["spec"];
        let target = spec["scaleTargetRef"]["name"].as_str();
        let change = json!({"spec": {"replicas": spec["minReplicaCount"]}});
        let deployments = place.api_of("Deployment")?;
        let target = target.context("no target")?;
        let patch = Patch::Merge(change);
        deployments
            .patch(target, &PatchParams::default(), &patch)
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_example_becomes_ready() -> Result<()> {
    let plane = own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    others::define(&place, &others::KINDS.map(|(_, _, kind)| kind)).await?;
    // One of them names it.
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "interactive"}, "value": 1000,
    });
    place.access.apply(&class.to_string()).await?;
    let operator = place.cluster_operator().await?;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/examples");
    let examples = examples.to_str().context("a path that is text")?;
    let all = ["apply", "--namespace", place.name(), "--filename", examples];
    place.access.kubectl(&all).await?;

    let chats = place.chats().list(&ListParams::default()).await?;
    ensure!(chats.items.len() >= 6, "only {}", chats.items.len());
    for chat in chats {
        let name = chat.name_any();
        let what = format!("{name} is ready");
        await_until(&what, 2 * PATIENCE, async || {
            others::are_well(&place, &name).await?;
            scale(&place, &name).await?;
            let ready = place.condition(&name, "Ready").await?;
            ensure!(ready["status"] == "True", "{ready}");
            Ok(Some(()))
        })
        .await
        .with_context(|| operator.log().unwrap_or_default())?;
    }
    Ok(())
}
