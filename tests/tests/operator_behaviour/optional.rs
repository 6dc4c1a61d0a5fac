//! An operator of a whole cluster: kinds that come later, and objects that nobody
//! can understand.

use anyhow::{Context, Result};
use chat_e2e::await_until;
use chat_kube::control_plane::Options;
use kube::api::PostParams;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::harness::{Place, define_as, small};
use super::others;
use super::process::{PATIENCE, printed};

#[tokio::test]
async fn a_kind_that_comes_later_is_used_without_a_restart() -> Result<()> {
    let plane = chat_kube::testing::own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    let operator = place.cluster_operator().await?;
    place
        .apply(
            "demo",
            json!({
                "host": "chat.example.com",
                "exposure": {"type": "Gateway", "gateway": {"parentRefs": [{"name": "main"}]}},
            }),
        )
        .await?;
    place
        .becomes("demo", "Stalled", "True", "GatewayApiMissing")
        .await?;

    others::define(&place, &["HTTPRoute"]).await?;
    place
        .becomes("demo", "Exposed", "False", "RouteNotAccepted")
        .await
        .with_context(|| operator.log().unwrap_or_default())?;
    others::are_well(&place, "demo").await?;
    place.ready("demo").await
}

#[tokio::test]
async fn an_object_that_cannot_be_understood_holds_up_nobody() -> Result<()> {
    let plane = chat_kube::testing::own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    // As if the definition were of a version that knows more.
    let mut loose: Value = serde_saphyr::from_str(&printed(&["crd"]).await?)?;
    loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = json!({
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
    });
    define_as(&place.client, loose).await?;
    let strange: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "chatcluster.io/v1alpha1", "kind": "ChatCluster",
        "metadata": {"name": "strange"}, "spec": {"host": ["a", "list"]},
    }))?;
    place
        .chats()
        .create(&PostParams::default(), &strange)
        .await?;
    let _operator = place.cluster_operator().await?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    await_until(
        "it is said that one cannot be understood",
        PATIENCE,
        async || {
            let events = place.events("strange").await?;
            Ok((events == ["Warning Undecodable"]).then_some(()))
        },
    )
    .await
}
