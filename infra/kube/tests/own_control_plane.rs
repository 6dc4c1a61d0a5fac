//! A control plane of the test's own: killed, paused, doubled, dropped.

use anyhow::Result;
use chat_kube::Options;
use chat_kube::audit::Audit;
use chat_kube::testing::own_control_plane;
use chat_local::process::PidFile;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::Api;

/// Enough for objects without controllers, and there sooner.
const BARE: Options = Options {
    controller_manager: false,
    scheduler: false,
    audit: Audit::Off,
    node: None,
};

#[tokio::test]
async fn objects_survive_the_end_of_the_api_server() -> Result<()> {
    let plane = own_control_plane(BARE).await;
    plane.kubectl(&["create", "configmap", "kept"]).await?;

    plane.api_server.kill().await?;
    plane
        .kubectl(&["get", "configmap", "kept"])
        .await
        .expect_err("nobody answers");
    plane.api_server.start().await?;
    plane.kubectl(&["get", "configmap", "kept"]).await?;

    plane.api_server.stop().await?;
    plane.etcd.kill().await?;
    plane.etcd.start().await?;
    plane.api_server.start().await?;
    plane.kubectl(&["get", "configmap", "kept"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_paused_api_server_answers_when_it_goes_on() -> Result<()> {
    let plane = own_control_plane(BARE).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(plane.client().await?);
    plane.api_server.pause().await;
    let mut answer = Box::pin(maps.get_opt("none"));
    let early = tokio::time::timeout(std::time::Duration::from_secs(1), &mut answer).await;
    assert!(early.is_err(), "{early:?}");
    plane.api_server.resume().await;
    assert!(answer.await?.is_none());
    Ok(())
}

#[tokio::test]
async fn two_control_planes_know_nothing_of_each_other() -> Result<()> {
    let (one, other) = tokio::join!(own_control_plane(BARE), own_control_plane(BARE));
    one.kubectl(&["create", "configmap", "mine"]).await?;
    other
        .kubectl(&["get", "configmap", "mine"])
        .await
        .expect_err("it is in the other one");
    other.kubectl(&["create", "configmap", "mine"]).await?;
    // The certificates of one are worth nothing to the other.
    let foreign = one.kubeconfig().display().to_string();
    let refused = other
        .kubectl(&[
            "get",
            "ns",
            "--kubeconfig",
            &foreign,
            "--server",
            &other.url,
        ])
        .await;
    let error = refused.expect_err("another authority").to_string();
    assert!(error.contains("certificate"), "{error}");
    Ok(())
}

#[tokio::test]
async fn nothing_is_left_when_it_is_dropped() -> Result<()> {
    let plane = own_control_plane(Options {
        scheduler: true,
        ..Options::default()
    })
    .await;
    let accounts: Api<ServiceAccount> = Api::default_namespaced(plane.client().await?);
    accounts.get("default").await?;
    let folder = plane.folder.clone();
    let mut servers = Vec::new();
    for file in std::fs::read_dir(folder.join("run"))? {
        servers.extend(PidFile::read(&file?.path()));
    }
    assert_eq!(servers.len(), 4, "{servers:?}");
    assert!(servers.iter().all(PidFile::is_alive), "{servers:?}");

    drop(plane);
    assert!(!servers.iter().any(PidFile::is_alive), "{servers:?}");
    assert!(!folder.exists(), "{}", folder.display());
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_cannot_start_says_why() -> Result<()> {
    let plane = own_control_plane(BARE).await;
    plane.api_server.stop().await?;
    std::fs::write(plane.folder.join("pki/ca.crt"), "no certificate")?;
    let error = plane.api_server.start().await.expect_err("no authority");
    let error = error.to_string();
    assert!(
        error.contains("kube-apiserver stopped while starting"),
        "{error}"
    );
    assert!(
        error.contains("ca.crt") || error.contains("certificate"),
        "{error}"
    );
    Ok(())
}
