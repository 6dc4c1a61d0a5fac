//! `skaffold.yaml` names what exists, and builds every image that runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use chat_events::Service;
use serde_json::Value;

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(relative)
}

fn yaml(relative: &str) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path(relative)).with_context(|| relative.to_owned())?;
    Ok(serde_saphyr::from_multiple(&text)?)
}

fn skaffold() -> Result<Value> {
    Ok(yaml("skaffold.yaml")?.remove(0))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The manifests of the configuration itself and of each profile.
fn manifests(skaffold: &Value) -> Vec<&str> {
    std::iter::once(skaffold)
        .chain(list(&skaffold["profiles"]))
        .flat_map(|config| list(&config["manifests"]["rawYaml"]))
        .filter_map(Value::as_str)
        .collect()
}

fn chat(manifest: &str) -> Result<Value> {
    let chats = yaml(manifest)?;
    let mut chats = chats.into_iter().filter(|it| it["kind"] == "ChatCluster");
    chats.next().context("no ChatCluster in it")
}

#[test]
fn every_file_and_chart_that_it_names_exists() -> Result<()> {
    let skaffold = skaffold()?;
    let mut files: Vec<String> = manifests(&skaffold).into_iter().map(Into::into).collect();
    for artifact in list(&skaffold["build"]["artifacts"]) {
        let file = artifact["docker"]["dockerfile"].as_str();
        files.push(file.context("an artifact without a Dockerfile")?.into());
    }
    for release in list(&skaffold["deploy"]["helm"]["releases"]) {
        let chart = release["chartPath"].as_str().context("no chart")?;
        files.push(format!("{chart}/Chart.yaml"));
    }
    ensure!(files.len() >= 11, "found only {files:?}");
    for file in files {
        ensure!(path(&file).is_file(), "{file} does not exist");
    }
    Ok(())
}

#[test]
fn it_builds_exactly_the_images_that_run() -> Result<()> {
    let skaffold = skaffold()?;
    let built: BTreeSet<String> = list(&skaffold["build"]["artifacts"])
        .filter_map(|artifact| Some(artifact["image"].as_str()?.to_owned()))
        .collect();
    let chart = yaml("charts/chat-operator/values.yaml")?.remove(0);
    let operator = chart["image"]["repository"].as_str().context("no image")?;
    for manifest in manifests(&skaffold) {
        let chat = chat(manifest)?;
        let services = chat["spec"]["services"]
            .as_object()
            .context("no services")?;
        let mut run: BTreeSet<String> = services
            .values()
            .filter_map(|service| Some(service["image"].as_str()?.to_owned()))
            .collect();
        run.insert(operator.to_owned());
        ensure!(run == built, "{manifest} runs {run:?}, built are {built:?}");
    }
    Ok(())
}

#[test]
fn the_rust_images_are_the_five_services_and_the_operator() -> Result<()> {
    let skaffold = skaffold()?;
    let mut programs = BTreeSet::new();
    for artifact in list(&skaffold["build"]["artifacts"]) {
        let Some(program) = artifact["docker"]["buildArgs"]["BIN"].as_str() else {
            continue;
        };
        ensure!(artifact["image"] == format!("chatcluster/{program}"));
        programs.insert(program.to_owned());
    }
    let services = Service::ALL.iter().map(|service| service.name());
    let expected: BTreeSet<_> = services.chain(["operator"]).map(str::to_owned).collect();
    ensure!(programs == expected, "{programs:?}");
    Ok(())
}

#[test]
fn tags_reach_chatclusters_and_a_hook_waits_until_each_is_ready() -> Result<()> {
    let skaffold = skaffold()?;
    let selector = &skaffold["resourceSelector"]["allow"][0];
    ensure!(selector["groupKind"] == "ChatCluster.chatcluster.io");
    ensure!(selector["image"][0] == ".*");
    let hooks = skaffold["deploy"]["kubectl"]["hooks"]["after"].to_string();
    for manifest in manifests(&skaffold) {
        let metadata = &chat(manifest)?["metadata"];
        let (name, namespace) = (metadata["name"].as_str(), metadata["namespace"].as_str());
        let name = name.context("no name")?;
        let namespace = namespace.context("no namespace")?;
        let wait = format!("--namespace {namespace} wait --for=condition=Ready chat/{name} ");
        ensure!(
            hooks.contains(&wait),
            "no hook waits for {namespace}/{name}"
        );
    }
    Ok(())
}
