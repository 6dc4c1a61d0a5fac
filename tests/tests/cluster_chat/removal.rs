//! What stays when a chat, its namespace or the operator goes.

use anyhow::{Result, ensure};
use chat_e2e::await_until;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::api::ListParams;
use serde_json::json;

use super::harness::{ClusterChat, PATIENCE, SYSTEM, in_cluster, install};

#[test]
fn long_a_chat_that_was_deleted_and_made_again_has_every_message() -> Result<()> {
    in_cluster(async |cluster| {
        let chat = ClusterChat::start(cluster, "retain", json!({})).await?;
        let (ada, _, conversation) = chat.two_people().await?;
        chat.say(&ada, conversation, "kept").await?;
        chat.kubectl(&["delete", "chat", "demo", "--wait"]).await?;
        chat.await_no_pods().await?;
        chat.apply(json!({})).await?;
        chat.await_ready().await?;
        let texts = await_until("the message", PATIENCE, async || {
            ada.texts(conversation).await.map(Some)
        })
        .await?;
        ensure!(texts == ["kept"], "{texts:?}");
        chat.remove().await
    })
}

#[test]
fn long_with_deletion_policy_delete_nothing_of_a_chat_is_left() -> Result<()> {
    in_cluster(async |cluster| {
        let spec = json!({"deletionPolicy": "Delete"});
        let chat = ClusterChat::start(cluster, "delete", spec).await?;
        chat.kubectl(&["delete", "chat", "demo", "--wait"]).await?;
        chat.await_no_pods().await?;
        await_until("no volume and no Secret", PATIENCE, async || {
            let none = ListParams::default();
            let volumes = chat.api::<PersistentVolumeClaim>().list(&none).await?;
            let secrets = chat.api::<Secret>().list(&none).await?;
            Ok((volumes.items.is_empty() && secrets.items.is_empty()).then_some(()))
        })
        .await?;
        chat.remove().await
    })
}

#[test]
fn long_without_its_operator_a_chat_goes_on_and_can_be_deleted() -> Result<()> {
    in_cluster(async |cluster| {
        let chat = ClusterChat::start(cluster.clone(), "orphan", json!({})).await?;
        cluster
            .helm(&[
                "uninstall",
                "chat-operator",
                "--namespace",
                SYSTEM,
                "--wait",
            ])
            .await?;
        let gone = async {
            let (ada, _, conversation) = chat.two_people().await?;
            chat.say(&ada, conversation, "nobody watches").await?;
            chat.kubectl(&["delete", "chat", "demo", "--wait"]).await?;
            chat.await_no_pods().await
        }
        .await;
        install(&cluster).await?;
        gone?;
        chat.remove().await
    })
}

#[test]
fn long_a_namespace_with_a_chat_can_be_removed() -> Result<()> {
    in_cluster(async |cluster| {
        let chat = ClusterChat::start(cluster, "whole", json!({})).await?;
        let patience = format!("--timeout={}s", PATIENCE.as_secs());
        chat.cluster
            .kubectl(&["delete", "namespace", &chat.namespace, &patience])
            .await?;
        Ok(())
    })
}
