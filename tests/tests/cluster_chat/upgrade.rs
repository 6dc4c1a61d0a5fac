//! Everything below 200 clients is replaced. Nothing that was acknowledged is lost, shown
//! twice or out of order, no request fails, and each socket is back soon.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use chat_cluster::Cluster;
use chat_e2e::await_until;
use chat_local::stack::programs_beside_tests;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::ResourceExt;
use kube::api::{DeleteParams, EvictParams, ListParams};
use serde_json::json;

use super::harness::{ClusterChat, PATIENCE, SYSTEM, in_cluster};
use super::load::{Disturbed, replicas};

/// The next version: the same programs under another name.
const NEXT: &str = "next";

#[test]
fn long_nothing_is_lost_and_no_request_fails_while_versions_and_replicas_change() -> Result<()> {
    in_cluster(async |cluster| {
        load_next(&cluster).await?;
        let mut run = Disturbed::start(cluster, "versions", replicas(1)).await?;
        for (what, count, rolls) in [("1 → 3 replicas", 3, 0), ("3 → 2 replicas", 2, 1)] {
            run.step(what, rolls, async |chat| chat.change(replicas(count)).await)
                .await?;
        }
        run.step("another operator", 0, async |chat| {
            upgrade_operator(&chat.cluster, NEXT).await?;
            chat.await_rolled_out().await
        })
        .await?;
        run.step("the next version", 1, async |chat| {
            chat.change(json!({"version": NEXT})).await
        })
        .await?;
        run.step("both versions as before", 1, async |chat| {
            upgrade_operator(&chat.cluster, "").await?;
            chat.change(json!({"version": ""})).await
        })
        .await?;
        run.step("other settings", 1, async |chat| {
            let talkative = json!({"logLevel": "debug"});
            chat.change(json!({"services": {"auth": talkative, "messages": talkative}}))
                .await
        })
        .await?;
        run.judge().await
    })
}

#[test]
fn long_nothing_is_lost_while_every_pod_goes_in_turn_and_the_node_is_drained() -> Result<()> {
    in_cluster(async |cluster| {
        let mut run = Disturbed::start(cluster, "pods", replicas(2)).await?;
        for (number, pod) in run.chat.pods().await?.into_iter().enumerate() {
            if is_store(&pod) {
                continue;
            }
            let deletes = number % 2 == 0;
            let verb = if deletes { "deleted" } else { "evicted" };
            run.step(&format!("{} is {verb}", pod.name_any()), 1, async |chat| {
                if deletes {
                    let pods = chat.api::<Pod>();
                    pods.delete(&pod.name_any(), &DeleteParams::default())
                        .await?;
                } else {
                    evict(&chat.api(), &pod).await?;
                }
                chat.await_whole_without(&pod).await
            })
            .await?;
        }
        run.step("the node is drained", 1, drain).await?;
        let stores = run.chat.pods().await?.into_iter().filter(is_store);
        let (database, others): (Vec<_>, Vec<_>) =
            stores.partition(|pod| pod.name_any().contains("postgres"));
        // Sign-in, lists and history need the database alone.
        for pod in others {
            run.lose(&pod, &DeleteParams::default()).await?;
        }
        run.end_of_requests().await?;
        for pod in database {
            run.lose(&pod, &DeleteParams::default()).await?;
        }
        run.judge().await
    })
}

#[test]
fn long_nothing_is_lost_and_no_request_fails_while_secrets_change_and_the_operator_dies()
-> Result<()> {
    in_cluster(async |cluster| {
        let mut run = Disturbed::start(cluster, "secrets", replicas(2)).await?;
        run.step("another key of tokens", 0, async |chat| {
            chat.annotate("chatcluster.io/rotate", "1").await?;
            await_stage(
                chat,
                "jwt",
                "chatcluster.io/rotation-stage",
                Some("retiring"),
            )
            .await?;
            chat.await_rolled_out().await
        })
        .await?;
        run.step(
            "other passwords, and the operator is killed",
            2,
            async |chat| {
                let stage = "chatcluster.io/passwords-stage";
                chat.annotate("chatcluster.io/rotate-passwords", "1")
                    .await?;
                await_stage(chat, "credentials", stage, Some("announced")).await?;
                kill_operator(chat).await?;
                await_stage(chat, "credentials", stage, Some("swapped")).await?;
                await_stage(chat, "credentials", stage, None).await?;
                chat.await_rolled_out().await
            },
        )
        .await?;
        run.judge().await
    })
}

async fn load_next(cluster: &Cluster) -> Result<()> {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../services/client/dist");
    for image in chat_images::chat(&programs_beside_tests()?, &client, NEXT)? {
        cluster.load_image(&image.archive).await?;
    }
    Ok(())
}

async fn upgrade_operator(cluster: &Cluster, version: &str) -> Result<()> {
    let tag = format!("image.tag={version}");
    let verb = ["upgrade", "chat-operator", "--namespace", SYSTEM, "--wait"];
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/chat-operator");
    let chart = chart.display().to_string();
    let values = ["--reuse-values", "--set", &tag];
    cluster
        .helm(&[&verb[..], &[&chart], &values].concat())
        .await?;
    Ok(())
}

fn is_store(pod: &Pod) -> bool {
    let owners = pod.owner_references();
    owners.iter().any(|owner| owner.kind == "StatefulSet")
}

/// As often as a PodDisruptionBudget asks for.
async fn evict(pods: &Api<Pod>, pod: &Pod) -> Result<()> {
    await_until("the eviction", PATIENCE, async || {
        pods.evict(&pod.name_any(), &EvictParams::default()).await?;
        Ok(Some(()))
    })
    .await
}

/// There is no other node: the budgets hold the second Pod of each service until the node
/// takes Pods again.
async fn drain(chat: &ClusterChat) -> Result<()> {
    let nodes = chat.kubectl(&["get", "nodes", "-o", "name"]).await?;
    let node = nodes.trim();
    let services = "--pod-selector=app.kubernetes.io/component in (auth,users,messages,socket-handler,notifications,web)";
    let before = chat.pods().await?.len();
    let flags = [
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=40s",
    ];
    let drained = chat
        .kubectl(&[&["drain", node, services][..], &flags].concat())
        .await;
    let held = chat.api::<Pod>().list(&ListParams::default()).await?;
    chat.kubectl(&["uncordon", node]).await?;
    let refused = drained.err().context("no budget held anything")?;
    ensure!(
        format!("{refused:#}").contains("disruption budget"),
        "{refused:#}"
    );
    let pending = held.iter().filter(|pod| {
        let status = pod.status.as_ref();
        status.and_then(|it| it.phase.as_deref()) == Some("Pending")
    });
    ensure!(
        pending.count() >= 6,
        "of {before} Pods too few were evicted"
    );
    chat.await_rolled_out().await
}

async fn await_stage(
    chat: &ClusterChat,
    secret: &str,
    annotation: &str,
    stage: Option<&str>,
) -> Result<()> {
    let what = format!("{annotation} is {stage:?}");
    await_until(&what, 2 * PATIENCE, async || {
        let secret = chat.secret(secret).await?;
        let now = secret.annotations().get(annotation).map(String::as_str);
        ensure!(now == stage, "it is {now:?}");
        Ok(Some(()))
    })
    .await
}

async fn kill_operator(chat: &ClusterChat) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(chat.client.clone(), SYSTEM);
    let at_once = DeleteParams::default().grace_period(0);
    pods.delete_collection(&at_once, &ListParams::default())
        .await?;
    Ok(())
}
