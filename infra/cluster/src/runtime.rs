//! containerd, the network of the Pods, and the images.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use chat_images::{Config, Draft, Layer};
use chat_kube::NodeTools;
use chat_local::daemon::{Daemon, Probe};
use chat_local::process::Program;
use chat_local::{process, programs};
use futures::FutureExt;
use serde_json::json;
use tokio::net::UnixStream;

use crate::namespaces::{self, Namespaces};
use crate::node::{SOCKET, daemon};

const PAUSE: &str = "chatcluster/pause:1";
pub const COREDNS: &str = "chatcluster/coredns:1";

pub fn containerd(namespaces: &Namespaces, folder: &Path) -> Result<Daemon> {
    let networks = folder.join("cni");
    std::fs::create_dir_all(&networks)?;
    std::fs::write(networks.join("pods.conflist"), pod_network().to_string())?;
    let config = folder.join("containerd.toml");
    std::fs::write(&config, configuration(&networks))?;
    let path = programs::need("containerd", "containerd")?;
    let program = namespaces
        .program(&path, folder)?
        .arg("--config")
        .arg(config.display().to_string());
    let socket = namespaces::inside(folder, SOCKET)?;
    let ready: Probe = Arc::new(move || {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.is_ok() }.boxed()
    });
    Ok(daemon(folder, "containerd", program, ready))
}

/// Makes known to the node what `docker save` and `chat_images` write.
pub async fn import(folder: &Path, archive: &Path) -> Result<()> {
    let socket = namespaces::inside(folder, SOCKET)?;
    let program = Program::new(programs::need("ctr", "containerd")?, folder)
        .arg("--address")
        .arg(socket.display().to_string())
        .arg("--namespace=k8s.io")
        .arg("images")
        .arg("import")
        .arg(archive.display().to_string());
    let what = format!("the import of {}", archive.display());
    process::run(&program, &what).await?;
    Ok(())
}

/// The two images without which no Pod runs and no name is found.
pub async fn import_own(folder: &Path, tools: &NodeTools) -> Result<()> {
    for (name, program) in [(PAUSE, &tools.pause), (COREDNS, &tools.coredns)] {
        let root = folder.join("image");
        std::fs::create_dir(&root)?;
        std::fs::copy(program, root.join("app"))
            .with_context(|| format!("{} cannot be copied", program.display()))?;
        let image = Draft {
            name: name.to_owned(),
            layers: vec![Layer::of_folder(&root)?],
            config: Config {
                user: "65535:65535".to_owned(),
                entrypoint: vec!["/app".to_owned()],
                ..Config::default()
            },
        };
        let image = image.write(&chat_images::folder())?;
        std::fs::remove_dir_all(&root)?;
        import(folder, &image.archive).await?;
    }
    Ok(())
}

fn configuration(networks: &Path) -> String {
    // Debian's, or everybody else's.
    let [debian, others] = ["/usr/lib/cni", "/opt/cni/bin"];
    let plugins = if Path::new(debian).is_dir() {
        debian
    } else {
        others
    };
    let mut toml = String::new();
    for line in [
        "version = 2".to_owned(),
        r#"disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]"#.to_owned(),
        "[grpc]".to_owned(),
        format!("address = {SOCKET:?}"),
        r#"[plugins."io.containerd.grpc.v1.cri"]"#.to_owned(),
        format!("sandbox_image = \"docker.io/{PAUSE}\""),
        // Not everybody who is root may make a process less likely to be killed.
        "restrict_oom_score_adj = true".to_owned(),
        "enable_unprivileged_ports = true".to_owned(),
        r#"[plugins."io.containerd.grpc.v1.cri".cni]"#.to_owned(),
        format!("bin_dir = {plugins:?}"),
        format!("conf_dir = {networks:?}"),
    ] {
        toml += &line;
        toml += "\n";
    }
    toml
}

/// Nothing is masqueraded: there is no outside.
fn pod_network() -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni",
                    "ranges": [[{ "subnet": "10.244.0.0/24" }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true }, "snat": true },
        ],
    })
}
