//! etcd, kube-apiserver and kube-controller-manager in one folder, on loopback.

use std::net::Ipv4Addr;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_local::daemon::{Daemon, Plan, Probe};
use chat_local::process::Program;
use chat_local::{ports, write_private};
use futures::FutureExt;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};
use nix::sys::signal::Signal;

use crate::access::Access;
use crate::audit::{self, Audit};
use crate::certs::{self, Authority};
use crate::{kubeconfig, tools};

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Makes ReplicaSets, Pods and ServiceAccounts, removes what is orphaned.
    pub controller_manager: bool,
    /// Without nodes it can only say that there are none.
    pub scheduler: bool,
    pub audit: Audit,
    pub node: Option<NodeAddress>,
}

/// Where Pods find the API server, when there is a node to run them.
#[derive(Clone, Copy, Debug)]
pub struct NodeAddress {
    /// Not loopback: Pods have one of their own.
    pub ip: Ipv4Addr,
    pub port: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controller_manager: true,
            scheduler: false,
            audit: Audit::Clients,
            node: None,
        }
    }
}

/// A running control plane. Each server can be stopped, killed, paused and
/// started again on the same port with the same data. Dropping it kills them.
#[derive(Debug)]
pub struct ControlPlane {
    pub controller_manager: Option<Daemon>,
    pub scheduler: Option<Daemon>,
    pub api_server: Daemon,
    pub etcd: Daemon,
    access: Access,
}

impl Deref for ControlPlane {
    type Target = Access;

    fn deref(&self) -> &Access {
        &self.access
    }
}

const LOOPBACK: &str = "127.0.0.1";
/// The first address of the range is that of the Service `kubernetes`.
pub const SERVICES: &str = "10.96.0.0/16";
/// Each node gives its Pods addresses out of 256 of these.
pub const PODS: &str = "10.244.0.0/16";
const API_SERVER_HOSTS: [&str; 7] = [
    LOOPBACK,
    "10.96.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

impl ControlPlane {
    /// Starts a control plane in an empty folder, and waits until it answers and
    /// namespaces get their ServiceAccount.
    pub async fn start(folder: &Path, options: Options) -> Result<Self> {
        let tools = tools::tools().await?;
        for part in ["run", "logs", "pki"] {
            std::fs::create_dir_all(folder.join(part))
                .with_context(|| format!("{} cannot be written", folder.display()))?;
        }
        let folder = std::fs::canonicalize(folder)?;
        let port = match options.node {
            Some(node) => node.port,
            None => ports::free()?,
        };
        let access = Access {
            url: format!("https://{LOOPBACK}:{port}"),
            folder,
            tools,
        };
        write_credentials(&access, options.node)?;
        let etcd_url = loopback_url()?;
        let client = probing_client(&access).await?;
        let plane = Self {
            etcd: etcd(&access, &etcd_url)?,
            api_server: api_server(&access, port, &etcd_url, options, client.clone())?,
            controller_manager: options
                .controller_manager
                .then(|| controller_manager(&access, options.node, client)),
            scheduler: options.scheduler.then(|| scheduler(&access)).transpose()?,
            access,
        };
        plane.etcd.start().await?;
        plane.api_server.start().await?;
        for daemon in [&plane.controller_manager, &plane.scheduler]
            .into_iter()
            .flatten()
        {
            daemon.start().await?;
        }
        write_private(&plane.file(), serde_json::to_vec_pretty(&plane.access)?)?;
        Ok(plane)
    }

    pub fn access(&self) -> Access {
        self.access.clone()
    }

    /// Stops every server; the data stay.
    pub async fn stop(self) -> Result<()> {
        let mut outcome = Ok(());
        for daemon in self.last_to_first() {
            outcome = outcome.and(daemon.stop().await);
        }
        outcome
    }

    /// An API server that loses its etcd lingers and keeps its port.
    fn last_to_first(&self) -> impl Iterator<Item = &Daemon> {
        let others = [&self.scheduler, &self.controller_manager];
        others
            .into_iter()
            .flatten()
            .chain([&self.api_server, &self.etcd])
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for daemon in self.last_to_first() {
            daemon.kill_now();
        }
    }
}

fn write_credentials(access: &Access, node: Option<NodeAddress>) -> Result<()> {
    let authority = Authority::new()?;
    let pki = access.folder.join("pki");
    authority.save(&pki)?;
    let node = node.map(|node| node.ip.to_string());
    let hosts: Vec<_> = API_SERVER_HOSTS
        .into_iter()
        .chain(node.as_deref())
        .collect();
    authority
        .server("kube-apiserver", &hosts)?
        .save(&pki, "apiserver")?;
    authority
        .client("kube-apiserver", Some("system:masters"))?
        .save(&pki, "apiserver-client")?;
    certs::save_token_keys(&pki)?;
    for (name, user, group) in [
        ("admin", "admin", Some("system:masters")),
        ("controller-manager", "system:kube-controller-manager", None),
        ("scheduler", "system:kube-scheduler", None),
    ] {
        let identity = authority.client(user, group)?;
        let content = kubeconfig::with_certificate(&access.url, authority.certificate(), &identity);
        write_private(&access.folder.join(format!("{name}.kubeconfig")), content)?;
    }
    Ok(())
}

fn etcd(access: &Access, url: &str) -> Result<Daemon> {
    let peer = loopback_url()?;
    let program = Program::new(&access.tools.etcd, &access.folder)
        .arg(flag("data-dir", access.folder.join("etcd").display()))
        .arg(flag("listen-client-urls", url))
        .arg(flag("advertise-client-urls", url))
        .arg(flag("listen-peer-urls", &peer))
        .arg(flag("initial-advertise-peer-urls", &peer))
        .arg(flag("initial-cluster", format!("default={peer}")))
        // Nothing of it has to survive the machine.
        .arg("--unsafe-no-fsync")
        .arg("--log-level=warn");
    let client = reqwest::Client::builder().no_proxy().build()?;
    let health = format!("{url}/health");
    let ready: Probe = Arc::new(move || {
        let request = client.get(&health);
        async move {
            let answer = request.send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        }
        .boxed()
    });
    Ok(daemon(access, "etcd", program, ready))
}

fn api_server(
    access: &Access,
    port: u16,
    etcd_url: &str,
    options: Options,
    client: Client,
) -> Result<Daemon> {
    let pki = |name: &str| access.folder.join("pki").join(name).display().to_string();
    let mut program = Program::new(&access.tools.kube_apiserver, &access.folder)
        .arg(flag("etcd-servers", etcd_url))
        .arg(flag("secure-port", port))
        .arg(flag("tls-cert-file", pki("apiserver.crt")))
        .arg(flag("tls-private-key-file", pki("apiserver.key")))
        .arg(flag("client-ca-file", pki("ca.crt")))
        .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
        .arg(flag(
            "service-account-key-file",
            pki("service-accounts.pub"),
        ))
        .arg(flag(
            "service-account-signing-key-file",
            pki("service-accounts.key"),
        ))
        .arg(flag("service-cluster-ip-range", SERVICES))
        .arg("--authorization-mode=Node,RBAC")
        // The second one is on in some distributions, and asks for one right more.
        .arg("--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement")
        .arg("--allow-privileged=true")
        .arg("--profiling=false");
    program = match options.node {
        None => program
            .arg(flag("bind-address", LOOPBACK))
            .arg(flag("advertise-address", LOOPBACK))
            // Endpoints may not be loopback addresses: there are none.
            .arg("--endpoint-reconciler-type=none"),
        Some(node) => program
            .arg("--bind-address=0.0.0.0")
            .arg(flag("advertise-address", node.ip))
            .arg("--kubelet-preferred-address-types=InternalIP")
            .arg(flag("kubelet-certificate-authority", pki("ca.crt")))
            .arg(flag(
                "kubelet-client-certificate",
                pki("apiserver-client.crt"),
            ))
            .arg(flag("kubelet-client-key", pki("apiserver-client.key"))),
    };
    if let Some(policy) = audit::policy(options.audit) {
        let file = access.folder.join("audit-policy.json");
        write_private(&file, policy.to_string())?;
        program = program
            .arg(flag("audit-policy-file", file.display()))
            .arg(flag("audit-log-path", access.audit().path().display()))
            // Never rotated within a run: its readers read one file.
            .arg("--audit-log-maxsize=1000000");
    }
    let ready: Probe = Arc::new(move || {
        let client = client.clone();
        async move {
            let request = http::Request::get("/readyz").body(Vec::new());
            match request {
                Ok(request) => client.request_text(request).await.is_ok(),
                Err(_) => false,
            }
        }
        .boxed()
    });
    Ok(daemon(access, "kube-apiserver", program, ready))
}

fn controller_manager(access: &Access, node: Option<NodeAddress>, client: Client) -> Daemon {
    let pki = |name: &str| access.folder.join("pki").join(name).display().to_string();
    let kubeconfig = access.folder.join("controller-manager.kubeconfig");
    let mut program = Program::new(&access.tools.kube_controller_manager, &access.folder)
        .arg(flag("kubeconfig", kubeconfig.display()))
        .arg("--use-service-account-credentials")
        .arg(flag(
            "service-account-private-key-file",
            pki("service-accounts.key"),
        ))
        .arg(flag("root-ca-file", pki("ca.crt")))
        .arg(flag("cluster-signing-cert-file", pki("ca.crt")))
        .arg(flag("cluster-signing-key-file", pki("ca.key")))
        .arg("--leader-elect=false")
        // Its default of 20 calls a second would be what a bench measures.
        .arg("--kube-api-qps=200")
        .arg("--kube-api-burst=400")
        // By default a folder of the machine, which it makes.
        .arg(flag(
            "flex-volume-plugin-dir",
            access.folder.join("volume-plugins").display(),
        ))
        // It has nothing to say to anybody.
        .arg("--secure-port=0");
    if node.is_some() {
        program = program
            .arg("--allocate-node-cidrs")
            .arg(flag("cluster-cidr", PODS))
            .arg(flag("service-cluster-ip-range", SERVICES));
    }
    let ready: Probe = Arc::new(move || {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        async move { accounts.get("default").await.is_ok() }.boxed()
    });
    daemon(access, "kube-controller-manager", program, ready)
}

fn scheduler(access: &Access) -> Result<Daemon> {
    let authority = access.authority()?;
    let pki = access.folder.join("pki");
    authority
        .server("kube-scheduler", &[LOOPBACK])?
        .save(&pki, "scheduler")?;
    let port = ports::free()?;
    let kubeconfig = access.folder.join("scheduler.kubeconfig");
    let program = Program::new(&access.tools.kube_scheduler, &access.folder)
        .arg(flag("kubeconfig", kubeconfig.display()))
        .arg("--leader-elect=false")
        .arg(flag("bind-address", LOOPBACK))
        .arg(flag("secure-port", port))
        .arg(flag("tls-cert-file", pki.join("scheduler.crt").display()))
        .arg(flag(
            "tls-private-key-file",
            pki.join("scheduler.key").display(),
        ));
    let certificate = reqwest::Certificate::from_pem(authority.certificate().as_bytes())?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([certificate])
        .build()?;
    let health = format!("https://{LOOPBACK}:{port}/readyz");
    let ready: Probe = Arc::new(move || {
        let request = client.get(&health);
        async move {
            let answer = request.send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        }
        .boxed()
    });
    Ok(daemon(access, "kube-scheduler", program, ready))
}

fn daemon(access: &Access, name: &str, program: Program, ready: Probe) -> Daemon {
    Daemon::new(Plan {
        name: name.to_owned(),
        program,
        log: access.folder.join("logs").join(format!("{name}.log")),
        pid_file: access.folder.join("run").join(format!("{name}.pid")),
        stop_signal: Signal::SIGTERM,
        stop_patience: Duration::from_secs(10),
        start_patience: Duration::from_secs(120),
        ready,
        advice: "",
    })
}

/// A client that takes the first answer for the answer.
async fn probing_client(access: &Access) -> Result<Client> {
    let mut config = access.client_config().await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn loopback_url() -> Result<String> {
    Ok(format!("http://{LOOPBACK}:{}", ports::free()?))
}
