//! What a node does for Pods, on the cluster that tests share.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_cluster::Cluster;
use chat_cluster::testing::{cluster, enter_cluster};
use chat_images::Store;
use chat_kube::testing::{TestNamespace, namespace_on};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A namespace, and the one image with which all this can be tried.
async fn namespace(cluster: &Cluster) -> Result<TestNamespace> {
    let image = Store::REDIS.image()?;
    cluster.load_image(&image.archive).await?;
    Ok(namespace_on(cluster.access.clone()).await)
}

fn pod(program: &[&str]) -> Value {
    json!({
        // What ignores the request to stop costs this long.
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "main",
            "image": Store::REDIS.image,
            "imagePullPolicy": "Never",
            "command": program,
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
            },
        }],
    })
}

/// A Redis that keeps what it is told in `/data`, and its Service.
fn redis() -> [Value; 2] {
    let server = ["redis-server", "--dir", "/data", "--appendonly", "yes"];
    let open = ["--appendfsync", "always", "--protected-mode", "no"];
    let mut spec = pod(&[&server[..], &open[..]].concat());
    spec["containers"][0]["volumeMounts"] = json!([{ "name": "data", "mountPath": "/data" }]);
    spec["containers"][0]["readinessProbe"] = json!({
        "exec": { "command": ["redis-cli", "ping"] },
        "periodSeconds": 1,
    });
    let labels = json!({ "app": "redis" });
    let set = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": { "name": "redis" },
        "spec": {
            "serviceName": "redis",
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": spec },
            "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Delete" },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": { "requests": { "storage": "100Mi" } },
                },
            }],
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "redis" },
        "spec": { "selector": labels, "ports": [{ "port": 6379 }] },
    });
    [set, service]
}

async fn apply(namespace: &TestNamespace, objects: &[Value]) -> Result<()> {
    for object in objects {
        let mut object = object.clone();
        object["metadata"]["namespace"] = json!(namespace.name);
        namespace.access.apply(&object.to_string()).await?;
    }
    Ok(())
}

async fn kubectl(namespace: &TestNamespace, words: &[&str]) -> Result<String> {
    let place = ["--namespace", &namespace.name];
    namespace
        .access
        .kubectl(&[&place[..], words].concat())
        .await
}

async fn redis_is_ready(namespace: &TestNamespace) -> Result<()> {
    let wait = ["rollout", "status", "statefulset/redis", "--timeout=120s"];
    kubectl(namespace, &wait).await?;
    Ok(())
}

async fn in_redis(namespace: &TestNamespace, words: &[&str]) -> Result<String> {
    let exec = ["exec", "redis-0", "--", "redis-cli"];
    let said = kubectl(namespace, &[&exec[..], words].concat()).await?;
    Ok(said.trim().to_owned())
}

#[tokio::test]
async fn a_pod_reaches_another_by_the_name_of_its_service() -> Result<()> {
    let namespace = namespace(&enter_cluster()).await?;
    apply(&namespace, &redis()).await?;
    redis_is_ready(&namespace).await?;
    let mut spec = pod(&["redis-cli", "-h", "redis", "ping"]);
    // The Service may be a moment behind its Pod.
    spec["restartPolicy"] = json!("OnFailure");
    let asking = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "asking" },
        "spec": spec,
    });
    apply(&namespace, &[asking]).await?;
    let done = "--for=jsonpath={.status.phase}=Succeeded";
    kubectl(&namespace, &["wait", "pod/asking", done, "--timeout=60s"]).await?;
    let said = kubectl(&namespace, &["logs", "asking"]).await?;
    assert_eq!(said.trim(), "PONG");
    Ok(())
}

#[tokio::test]
async fn whoever_has_entered_reaches_services_and_nothing_else() -> Result<()> {
    let namespace = namespace(&enter_cluster()).await?;
    apply(&namespace, &redis()).await?;
    redis_is_ready(&namespace).await?;
    let which = [
        "get",
        "service",
        "redis",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ];
    let address = kubectl(&namespace, &which).await?;
    let mut service = connect(&address).await?;
    service.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    service.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"+PONG\r\n");
    // An address that is for documentation, and nobody's.
    let outside = TcpStream::connect("192.0.2.1:80").await;
    let error = outside.expect_err("there is a way out").kind();
    assert_eq!(error, std::io::ErrorKind::NetworkUnreachable);
    Ok(())
}

/// kube-proxy hears of an endpoint a moment after everybody else.
async fn connect(address: &str) -> Result<TcpStream> {
    let connected = async {
        loop {
            match TcpStream::connect((address, 6379)).await {
                Ok(connection) => return connection,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let connected = tokio::time::timeout(Duration::from_secs(30), connected).await;
    connected.with_context(|| format!("nobody answers at {address}"))
}

#[tokio::test]
async fn a_volume_outlives_its_pod_and_goes_with_its_claim() -> Result<()> {
    let cluster = enter_cluster();
    let namespace = namespace(&cluster).await?;
    apply(&namespace, &redis()).await?;
    redis_is_ready(&namespace).await?;
    assert_eq!(in_redis(&namespace, &["set", "kept", "yes"]).await?, "OK");

    kubectl(&namespace, &["delete", "pod", "redis-0", "--wait"]).await?;
    redis_is_ready(&namespace).await?;
    assert_eq!(in_redis(&namespace, &["get", "kept"]).await?, "yes");

    let which = [
        "get",
        "pvc",
        "data-redis-0",
        "-o",
        "jsonpath={.spec.volumeName}",
    ];
    let volume = kubectl(&namespace, &which).await?;
    let folder = cluster.folder.join("volumes").join(&volume);
    ensure!(
        folder.join("appendonlydir").is_dir(),
        "{}",
        folder.display()
    );
    kubectl(&namespace, &["delete", "statefulset", "redis", "--wait"]).await?;
    let gone = ["wait", "--for=delete", "--timeout=60s"];
    let volume = format!("pv/{volume}");
    kubectl(&namespace, &[&gone[..], &[&volume]].concat()).await?;
    ensure!(!folder.exists(), "{} is left", folder.display());
    Ok(())
}

#[tokio::test]
async fn pods_outlive_the_kubelet_and_the_kubelet_comes_back() -> Result<()> {
    let cluster = enter_cluster();
    let namespace = namespace(&cluster).await?;
    apply(&namespace, &redis()).await?;
    redis_is_ready(&namespace).await?;
    in_redis(&namespace, &["config", "set", "save", "900 1"]).await?;
    cluster.crash("kubelet")?;
    // Only a kubelet passes this on, and only the same process knows what it was told.
    let kept = async {
        loop {
            match in_redis(&namespace, &["config", "get", "save"]).await {
                Ok(said) => return said,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let said = tokio::time::timeout(Duration::from_secs(60), kept).await;
    assert_eq!(said.context("no kubelet came back")?, "save\n900 1");
    Ok(())
}

#[tokio::test]
async fn pods_that_ask_for_more_processors_than_there_are_find_a_place() -> Result<()> {
    let namespace = namespace(&enter_cluster()).await?;
    let mut spec = pod(&["redis-server"]);
    let all = std::thread::available_parallelism()?.get() + 1;
    spec["containers"][0]["resources"] = json!({ "requests": { "cpu": all.to_string() } });
    let greedy = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "greedy" },
        "spec": spec,
    });
    apply(&namespace, &[greedy]).await?;
    let ready = [
        "wait",
        "pod/greedy",
        "--for=condition=Ready",
        "--timeout=60s",
    ];
    kubectl(&namespace, &ready).await?;
    Ok(())
}

#[tokio::test]
async fn a_restricted_namespace_refuses_a_pod_that_may_become_root() -> Result<()> {
    let namespace = namespace(&enter_cluster()).await?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&namespace, &["label", "namespace", &namespace.name, label]).await?;
    let mut bold = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "bold" },
        "spec": pod(&["redis-server"]),
    });
    apply(&namespace, std::slice::from_ref(&bold)).await?;
    kubectl(&namespace, &["delete", "pod", "bold", "--now"]).await?;
    bold["spec"]["containers"][0]["securityContext"] = json!({});
    let refused = apply(&namespace, &[bold])
        .await
        .expect_err("it is admitted");
    assert!(refused.to_string().contains("PodSecurity"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn kubectl_needs_not_be_inside() -> Result<()> {
    let said = cluster().kubectl(&["get", "nodes", "-o", "name"]).await?;
    assert_eq!(said.trim(), "node/node");
    Ok(())
}
