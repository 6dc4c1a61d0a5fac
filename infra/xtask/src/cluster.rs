//! `cargo xtask cluster`: a Kubernetes cluster on this machine.

mod engine;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use chat_cluster::Cluster;
use chat_cluster::testing::shared_cluster_folder;
use chat_images::Image;

use crate::cargo::build_all;
use crate::steps::{self, say, timed};
use crate::{files, images, packages};
use engine::Engine;

#[derive(clap::Subcommand)]
pub enum What {
    /// Start a cluster of one node with an ingress controller, or find the one that runs.
    /// It outlives this command.
    Up {
        /// Build the images of the chat and of stores for tests as well, and load them.
        #[arg(long)]
        images: bool,
        /// Cargo's profile for what is built.
        #[arg(long, default_value = "dev")]
        profile: String,
    },
    /// Stop it, and remove everything that it was.
    Down,
    /// Say whether one runs, and what runs on it.
    Status,
    /// Make images known to it, from what `docker save` or `cargo xtask images` wrote.
    LoadImage {
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
}

pub async fn run(what: What) -> Result<ExitCode> {
    let engine = Engine::find();
    match what {
        What::Up { images, profile } => match engine {
            Some(engine) => engine.up(images.then_some(&profile))?,
            None => up(images, &profile).await?,
        },
        What::Down => match engine {
            Some(engine) => engine.down()?,
            None => {
                chat_cluster::remove(&shared_cluster_folder())?;
                say("no cluster is left");
            }
        },
        What::Status => match engine {
            Some(engine) => engine.status()?,
            None => return status().await,
        },
        What::LoadImage { archives } => match engine {
            Some(engine) => archives.iter().try_for_each(|it| engine.load(it))?,
            None => {
                let cluster = running()?;
                for archive in &archives {
                    let name = format!("{} loaded", archive.display());
                    timed(&name, cluster.load_image(archive)).await?;
                }
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

async fn up(with_images: bool, profile: &str) -> Result<()> {
    let cluster = start(&shared_cluster_folder()).await?;
    let images = timed("images built", async {
        match with_images {
            true => all_images(profile),
            false => Ok(vec![images::build_ingress(profile)?]),
        }
    })
    .await?;
    furnish(&cluster, &images).await?;
    say("");
    say("  The cluster runs, until `cargo xtask cluster down`. Look into it by");
    say(&format!(
        "  export KUBECONFIG={}",
        cluster.kubeconfig().display()
    ));
    say(&format!(
        "  {} get pods --all-namespaces",
        cluster.tools.kubectl.display()
    ));
    let (http, https) = (cluster.http_port, cluster.https_port);
    say(&match (http, https) {
        (80, 443) => "  A chat with the host chat.localhost is at http://chat.localhost".to_owned(),
        _ => format!(
            "  Something else has port 80 or 443, so the node's are {http} and {https}, where chats let in no browser"
        ),
    });
    Ok(())
}

/// What the chat needs to run on a cluster, and what its tests need besides.
pub fn all_images(profile: &str) -> Result<Vec<Image>> {
    let mut all = images::build(profile, env!("CARGO_PKG_VERSION"))?;
    all.extend(images::build_for_tests(profile)?);
    Ok(all)
}

/// The cluster of a folder, started if need be.
pub async fn start(folder: &Path) -> Result<Cluster> {
    chat_cluster::require_root()?;
    packages::install(&packages::NODE)?;
    timed("programs of Kubernetes", async {
        chat_kube::tools().await?;
        chat_kube::node_tools().await
    })
    .await?;
    timed("programs of this checkout", async { build_all() }).await?;
    let supervisor = files::target().join("debug/cluster-node");
    Cluster::start(folder, &supervisor, steps::done)
}

/// Loads images, the ingress controller's among them, and waits until that serves.
pub async fn furnish(cluster: &Cluster, images: &[Image]) -> Result<()> {
    timed("images loaded", async {
        for image in images {
            cluster.load_image(&image.archive).await?;
        }
        Ok(())
    })
    .await?;
    timed("ingress controller Ready", async {
        cluster.apply(chat_ingress::MANIFEST).await?;
        let rollout = ["rollout", "status", "daemonset/nginx-ingress"];
        let patience = ["--namespace=nginx-ingress", "--timeout=120s"];
        cluster.kubectl(&[&rollout[..], &patience].concat()).await
    })
    .await?;
    Ok(())
}

async fn status() -> Result<ExitCode> {
    let Ok(cluster) = Cluster::find(&shared_cluster_folder()) else {
        say("no cluster runs: start one by `cargo xtask cluster up`");
        return Ok(ExitCode::FAILURE);
    };
    say(&format!("KUBECONFIG={}", cluster.kubeconfig().display()));
    let what = ["get", "nodes,pods", "--all-namespaces", "--output=wide"];
    say(cluster.kubectl(&what).await?.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn running() -> Result<Cluster> {
    match Cluster::find(&shared_cluster_folder()) {
        Ok(cluster) => Ok(cluster),
        Err(_) => bail!("no cluster runs: start one by `cargo xtask cluster up`"),
    }
}
