//! The kubelet, and kube-proxy, which makes Services of addresses.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_kube::control_plane::PODS;
use chat_kube::{Access, NodeTools};
use chat_local::daemon::{Daemon, Plan, Probe};
use chat_local::process::Program;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::runtime::conditions::Condition;
use kube::runtime::wait::await_condition;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::namespaces::{ADDRESS, Namespaces};

pub const NAME: &str = "node";
/// Of the container runtime.
pub const SOCKET: &str = "/run/containerd/containerd.sock";
/// As `manifests/dns.yaml` says.
const NAME_SERVER: &str = "10.96.0.10";

pub fn kubelet(
    namespaces: &Namespaces,
    access: &Access,
    tools: &NodeTools,
    cgroup: &str,
) -> Result<Daemon> {
    let folder = &access.folder;
    let user = format!("system:node:{NAME}");
    let kubeconfig = access.kubeconfig_for(&user, Some("system:nodes"))?;
    let pki = folder.join("pki");
    access
        .authority()?
        .server("kubelet", &[NAME, &ADDRESS.to_string()])?
        .save(&pki, "kubelet")?;
    // What the machine asks is not reached from here.
    let names = folder.join("resolv.conf");
    std::fs::write(&names, "")?;
    let config = folder.join("kubelet.json");
    let settings = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": pki.join("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": pki.join("kubelet.crt"),
        "tlsPrivateKeyFile": pki.join("kubelet.key"),
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "clusterDNS": [NAME_SERVER],
        "clusterDomain": "cluster.local",
        "resolvConf": names,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        // By default a folder of the machine.
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "oomScoreAdj": 0,
        // A developer's disk may be rather full, and images come only once.
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    });
    std::fs::write(&config, settings.to_string())?;
    let program = namespaces
        .program(&tools.kubelet, folder)?
        .arg(format!("--config={}", config.display()))
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!("--hostname-override={NAME}"))
        .arg(format!("--node-ip={ADDRESS}"));
    let ready = answers("http://127.0.0.1:10248/healthz")?;
    Ok(daemon(folder, "kubelet", program, ready))
}

pub fn kube_proxy(namespaces: &Namespaces, access: &Access, tools: &NodeTools) -> Result<Daemon> {
    let folder = &access.folder;
    let kubeconfig = access.kubeconfig_for("system:kube-proxy", None)?;
    let config = folder.join("kube-proxy.json");
    let settings = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": { "kubeconfig": kubeconfig },
        "clusterCIDR": PODS,
        "hostnameOverride": NAME,
        "healthzBindAddress": "127.0.0.1:10256",
        "oomScoreAdj": 0,
        // These belong to the machine, and cannot be set from inside.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    });
    std::fs::write(&config, settings.to_string())?;
    let program = namespaces
        .program(&tools.kube_proxy, folder)?
        .arg(format!("--config={}", config.display()));
    let ready = answers("http://127.0.0.1:10256/healthz")?;
    Ok(daemon(folder, "kube-proxy", program, ready))
}

/// Waits until the node takes Pods.
pub async fn ready(access: &Access) -> Result<()> {
    let nodes: Api<Node> = Api::all(access.client().await?);
    let wait = await_condition(nodes, NAME, is_ready());
    let patience = Duration::from_secs(120);
    let waited = tokio::time::timeout(patience, wait).await;
    waited.with_context(|| {
        let log = access.folder.join("logs/kubelet.log");
        format!("the node is not Ready after 120 s: {}", log.display())
    })??;
    Ok(())
}

fn is_ready() -> impl Condition<Node> {
    |node: Option<&Node>| {
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|conditions| {
            let mut conditions = conditions.iter();
            conditions.any(|it| it.type_ == "Ready" && it.status == "True")
        })
    }
}

pub fn daemon(folder: &Path, name: &str, program: Program, ready: Probe) -> Daemon {
    Daemon::new(Plan {
        name: name.to_owned(),
        program,
        log: folder.join("logs").join(format!("{name}.log")),
        pid_file: folder.join("run").join(format!("{name}.pid")),
        // `nsenter` hands no signal on: its group is killed.
        stop_signal: Signal::SIGKILL,
        stop_patience: Duration::from_secs(10),
        start_patience: Duration::from_secs(120),
        ready,
        advice: "",
    })
}

fn answers(url: &'static str) -> Result<Probe> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    Ok(Arc::new(move || {
        let request = client.get(url);
        async move {
            let answer = request.send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        }
        .boxed()
    }))
}
