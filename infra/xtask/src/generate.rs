//! Everything in the repository that a program writes.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use chat_events::Service;

use crate::cargo::build_all;
use crate::{files, npm, steps};

/// Writes every generated file; with `check`, only says which would change.
pub fn run(check: bool) -> Result<ExitCode> {
    build_all()?;
    let mut changed = write(from_rust()?, check)?;
    // What was just written is part of the chart.
    changed.extend(write(vec![from_the_chart()?], check)?);
    changed.extend(from_the_client(check)?);
    if changed.is_empty() {
        steps::say("every generated file is up to date");
        return Ok(ExitCode::SUCCESS);
    }
    let changed = changed.join(", ");
    if check {
        steps::say(&format!(
            "out of date: {changed}. Run `cargo xtask generate` and commit the result."
        ));
        return Ok(ExitCode::FAILURE);
    }
    steps::say(&format!("written: {changed}"));
    Ok(ExitCode::SUCCESS)
}

/// Returns what differed from what stands there.
fn write(generated: Vec<(PathBuf, Vec<u8>)>, check: bool) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for (path, content) in generated {
        let old = std::fs::read(&path).unwrap_or_default();
        if old != content {
            if !check {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                std::fs::write(&path, content)?;
            }
            changed.push(relative(&path));
        }
    }
    Ok(changed)
}

fn from_rust() -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let root = files::root();
    let programs = files::target().join("debug");
    let print = |program: &str, argument: &str| {
        steps::output(Command::new(programs.join(program)).arg(argument))
            .with_context(|| format!("{program} {argument}"))
    };
    let mut generated = Vec::new();
    let mut configuration = String::from(
        "# Configuration\n\nEach service reads its settings from the environment. A setting `NAME` may also come \
         from the file that `NAME_FILE` names, for mounted Secrets. `<service> config` prints its table.\n\
         This page is generated; `cargo xtask generate` writes it.\n",
    );
    for service in Service::ALL {
        let name = service.name();
        let openapi = root.join(format!("services/{name}/openapi.json"));
        generated.push((openapi, print(name, "openapi")?));
        let table = String::from_utf8(print(name, "config")?)?;
        configuration.push_str(&format!("\n## {name}\n\n{}\n", table.trim_end()));
    }
    generated.push((
        root.join("docs/configuration.md"),
        configuration.into_bytes(),
    ));
    generated.push((
        root.join("services/events/schema.json"),
        steps::output(&mut Command::new(programs.join("examples/schema")))?,
    ));
    generated.extend(from_the_operator(&programs.join("operator"))?);
    Ok(generated)
}

/// The definition of `ChatCluster`, and the rights that handling it takes.
fn from_the_operator(program: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let root = files::root();
    let print = |arguments: &[&str]| {
        steps::output(Command::new(program).args(arguments))
            .with_context(|| format!("operator {}", arguments.join(" ")))
    };
    let definition = print(&["crd"])?;
    let charts = root.join("charts");
    let rules = charts.join("chat-operator/files");
    let mut generated = vec![
        (root.join("crds/chatcluster.yaml"), definition.clone()),
        (
            charts.join("chat-operator-crds/files/chatcluster.yaml"),
            definition,
        ),
        (
            rules.join("cluster-rules.yaml"),
            print(&["rbac", "--cluster"])?,
        ),
        (
            rules.join("namespace-rules.yaml"),
            print(&["rbac", "--namespaces"])?,
        ),
        (rules.join("own-rules.yaml"), print(&["rbac", "--own"])?),
        (
            root.join("docs/reference/chatcluster.md"),
            print(&["reference"])?,
        ),
    ];
    // Every object of every example.
    for example in std::fs::read_dir(root.join("crds/examples"))? {
        let example = example?;
        let file = example.path();
        generated.push((
            root.join("operator/tests/snapshots")
                .join(example.file_name()),
            print(&["render", "--file", &file.to_string_lossy()])?,
        ));
    }
    Ok(generated)
}

/// The operator for those who do without Helm.
fn from_the_chart() -> Result<(PathBuf, Vec<u8>)> {
    let helm = tokio::task::block_in_place(|| {
        tokio::runtime::Handle::current().block_on(chat_kube::tools::helm())
    })?;
    let mut template = Command::new(helm);
    template
        .args(["template", "chat-operator", "charts/chat-operator"])
        .args(["--namespace", "chat-system", "--no-hooks"])
        .current_dir(files::root());
    let manifest = steps::output(&mut template).context("helm template")?;
    Ok((
        files::root().join("infra/kustomize/operator.yaml"),
        manifest,
    ))
}

/// The client's types, from the documents that were just written.
fn from_the_client(check: bool) -> Result<Vec<String>> {
    let client = npm::client();
    npm::install(&client)?;
    let folder = client.join("src/api/generated");
    let before = contents(&folder)?;
    npm::script(&client, "generate", &[])?;
    let after = contents(&folder)?;
    let changed = after
        .iter()
        .filter(|file| !before.contains(file))
        .map(|(path, _)| relative(path))
        .collect();
    if check {
        for (path, content) in before {
            std::fs::write(path, content)?;
        }
    }
    Ok(changed)
}

fn contents(folder: &PathBuf) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let content = std::fs::read(&path)?;
        files.push((path, content));
    }
    Ok(files)
}

fn relative(path: &Path) -> String {
    let root = files::root();
    path.strip_prefix(root)
        .unwrap_or(path)
        .display()
        .to_string()
}
