//! kind or k3d, where a Docker engine answers: they make the cluster then. The ingress
//! controller is left to whoever uses them.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use chat_local::programs;

use crate::files;
use crate::steps::{self, say};

#[derive(Clone, Copy)]
pub enum Engine {
    Kind,
    K3d,
}

const NAME: &str = "chatcluster";

impl Engine {
    pub fn find() -> Option<Self> {
        let program = [(Self::Kind, "kind"), (Self::K3d, "k3d")]
            .into_iter()
            .find(|(_, name)| programs::find(name).is_some());
        let (engine, _) = program?;
        let mut docker = Command::new("docker");
        docker
            .arg("info")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let answers = docker.status().is_ok_and(|status| status.success());
        answers.then_some(engine)
    }

    /// With the images that this profile makes, if any.
    pub fn up(self, images: Option<&String>) -> Result<()> {
        if self.runs() {
            say("the cluster runs already");
        } else {
            self.create()?;
        }
        let images = images.map(|profile| super::all_images(profile));
        let images = images.transpose()?.unwrap_or_default();
        images
            .iter()
            .try_for_each(|image| self.load(&image.archive))
    }

    fn create(self) -> Result<()> {
        match self {
            Self::Kind => {
                // Docker opens the ports of the ingress when it makes the node.
                let config = files::cache().join("kind.json");
                std::fs::write(&config, ports_of_kind().to_string())?;
                let mut kind = Command::new("kind");
                kind.args(["create", "cluster", "--name", NAME, "--wait=2m"]);
                steps::run(kind.arg("--config").arg(config))
            }
            Self::K3d => steps::run(Command::new("k3d").args([
                "cluster",
                "create",
                NAME,
                "--wait",
                "--k3s-arg=--disable=traefik@server:0",
                "--port=127.0.0.1:80:80@loadbalancer",
                "--port=127.0.0.1:443:443@loadbalancer",
            ])),
        }
    }

    pub fn down(self) -> Result<()> {
        steps::run(&mut match self {
            Self::Kind => command("kind", &["delete", "cluster", "--name", NAME]),
            Self::K3d => command("k3d", &["cluster", "delete", NAME]),
        })
    }

    pub fn status(self) -> Result<()> {
        steps::run(&mut match self {
            Self::Kind => command("kind", &["get", "nodes", "--name", NAME]),
            Self::K3d => command("k3d", &["cluster", "list", NAME]),
        })
    }

    pub fn load(self, archive: &Path) -> Result<()> {
        let mut load = match self {
            Self::Kind => command("kind", &["load", "image-archive", "--name", NAME]),
            Self::K3d => command("k3d", &["image", "import", "--cluster", NAME]),
        };
        steps::run(load.arg(archive))
    }

    fn runs(self) -> bool {
        let mut list = match self {
            Self::Kind => command("kind", &["get", "clusters"]),
            Self::K3d => command("k3d", &["cluster", "list", "--no-headers"]),
        };
        let said = steps::output(&mut list).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let mut names = said.lines().filter_map(|line| line.split(' ').next());
        names.any(|name| name == NAME)
    }
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn ports_of_kind() -> serde_json::Value {
    let port = |same: u16| {
        serde_json::json!({
            "containerPort": same,
            "hostPort": same,
            "listenAddress": "127.0.0.1",
        })
    };
    serde_json::json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{
            "role": "control-plane",
            "extraPortMappings": [port(80), port(443)],
        }],
    })
}
