//! The commands of the README and of the how-to for local clusters, as they stand.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use chat_cluster::Cluster;
use chat_e2e::Site;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use tokio::process::Command;

use super::harness::{SYSTEM, in_cluster, install, remove, store_images};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The block of commands that holds this one, and what is shown after it.
fn block(page: &str, command: &str) -> Result<(String, Option<String>)> {
    let text = std::fs::read_to_string(repository().join(page))?;
    let mut parts = text.split("```");
    while let Some(part) = parts.next() {
        let Some(commands) = part.strip_prefix("sh\n").filter(|it| it.contains(command)) else {
            continue;
        };
        let shown = parts.nth(1).and_then(|it| it.strip_prefix('\n'));
        return Ok((commands.to_owned(), shown.map(str::to_owned)));
    }
    anyhow::bail!("{page} does not say `{command}`");
}

/// What the commands print, run by a shell in the checkout.
async fn shell(cluster: &Cluster, commands: &str) -> Result<String> {
    let tools = &cluster.access.tools;
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    for tool in [&tools.kubectl, &tools.helm] {
        let folder = tool.parent().context("a program in no folder")?;
        path.push(":");
        path.push(folder);
    }
    let output = Command::new("sh")
        .args(["-euc", commands])
        .current_dir(repository())
        .env("PATH", path)
        .env("KUBECONFIG", cluster.access.kubeconfig())
        .output()
        .await?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{commands}\n{told}\n{complaint}");
    Ok(told)
}

/// Whoever reads the README has no operator yet.
async fn uninstall(cluster: &Cluster) -> Result<()> {
    for chart in ["chat-operator", "chat-operator-crds"] {
        let arguments = ["uninstall", chart, "--namespace", SYSTEM, "--wait"];
        cluster.helm(&arguments).await?;
    }
    Ok(())
}

#[test]
fn long_the_commands_of_the_readme_make_the_chat_that_it_shows() -> Result<()> {
    in_cluster(async |cluster| {
        let (commands, shown) = block("README.md", "kubectl get chat")?;
        let shown = shown.context("the README shows no output")?;
        // No registry can be reached from here: the stores are the distribution's.
        let operator = "helm install chat-operator charts/chat-operator ";
        ensure!(commands.contains(operator), "{commands}");
        let stores = format!("{operator} --set {} ", store_images());
        uninstall(&cluster).await?;
        let told = shell(&cluster, &commands.replace(operator, &stores)).await;
        let mended = install(&cluster).await;
        let told = told?;
        mended?;
        let columns = |table: &str| -> Vec<Vec<String>> {
            let rows = table.lines().filter(|row| !row.is_empty());
            let words = rows.map(|row| row.split_whitespace().map(str::to_owned).collect());
            words.collect()
        };
        let table = told.split("condition met\n").last().unwrap_or_default();
        let (mut seen, mut promised) = (columns(table), columns(&shown));
        for table in [&mut seen, &mut promised] {
            // Nobody's chat is as old as that of another.
            ensure!(table.len() == 2 && table[1].pop().is_some(), "{told}");
        }
        ensure!(seen == promised, "{seen:?} and not {promised:?}");
        shell(&cluster, "kubectl delete -f crds/examples/minimal.yaml").await?;
        let client = cluster.client().await?;
        let volumes: Api<PersistentVolumeClaim> = Api::default_namespaced(client);
        let (how, all) = (DeleteParams::default(), ListParams::default());
        volumes.delete_collection(&how, &all).await?;
        Ok(())
    })
}

#[test]
fn long_the_commands_of_the_how_to_make_a_chat_on_a_local_cluster() -> Result<()> {
    in_cluster(async |cluster| {
        let page = "docs/how-to/local-cluster.md";
        let (commands, _) = block(page, "kubectl create namespace chat")?;
        // The cluster of the tests is another one than that of `cargo xtask cluster up`.
        let (first, commands) = commands.split_once('\n').context("one line")?;
        ensure!(first.starts_with("export KUBECONFIG="), "{first}");
        let client = cluster.client().await?;
        remove(&client, "chat").await?;
        uninstall(&cluster).await?;
        let made = async {
            let wait = "kubectl wait -n chat --for=condition=Ready chat --all --timeout=5m";
            shell(&cluster, &format!("{commands}\n{wait}")).await?;
            let address = (cluster.address, 80).into();
            let site = Site::new("http://chat.localhost").at(address);
            chat_e2e::Browser::new(&site)?.get("/").await
        }
        .await;
        remove(&client, "chat").await?;
        install(&cluster).await?;
        let answer = made?;
        ensure!(answer.status == 200, "{answer}");
        Ok(())
    })
}
