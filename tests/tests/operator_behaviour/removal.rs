//! Nothing keeps a chat, a namespace or the operator from going.

use anyhow::Result;
use chat_e2e::await_until;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use super::harness::{Place, small};
use super::process::PATIENCE;

async fn all_gone(place: &Place, but: &[&str]) -> Result<()> {
    await_until("all that belongs to it is gone", PATIENCE, async || {
        let left = place.children("demo").await?;
        Ok(left
            .keys()
            .all(|(kind, _)| but.contains(&kind.as_str()))
            .then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_chat_goes_and_leaves_its_data_where_that_was_asked_for() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    place.delete_chat("demo").await?;
    all_gone(&place, &["Secret"]).await?;
    let claims = place
        .api("", "v1", "PersistentVolumeClaim")
        .list(&ListParams::default())
        .await?;
    assert!(!claims.items.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_chat_goes_with_its_data_when_the_operator_is_gone_already() -> Result<()> {
    let place = Place::new().await?;
    let mut operator = place.operator()?;
    place
        .apply(
            "demo",
            json!({"host": "chat.example.com", "deletionPolicy": "Delete"}),
        )
        .await?;
    place.ready("demo").await?;
    operator.kill().await?;
    place.delete_chat("demo").await?;
    all_gone(&place, &[]).await?;
    await_until("the volumes are gone", PATIENCE, async || {
        let claims = place
            .api("", "v1", "PersistentVolumeClaim")
            .list(&ListParams::default())
            .await?;
        // Protected as long as a pod uses them; there is no kubelet to end a pod.
        let going = |it: &kube::core::DynamicObject| it.metadata.deletion_timestamp.is_some();
        Ok(claims.items.iter().all(going).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_namespace_goes_while_the_operator_runs() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let namespaces: Api<Namespace> = Api::all(place.client.clone());
    namespaces
        .delete(place.name(), &DeleteParams::background())
        .await?;
    await_until("the namespace is gone", PATIENCE, async || {
        Ok(namespaces
            .get_opt(place.name())
            .await?
            .is_none()
            .then_some(()))
    })
    .await
}
