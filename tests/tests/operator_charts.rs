//! The charts, by the real Helm and on a real API server.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use chat_kube::access::Access;
use chat_kube::control_plane::Options;
use chat_kube::testing::{control_plane, namespace, own_control_plane};
use serde_json::{Value, json};

const OPERATOR: &str = "charts/chat-operator";
const DEFINITION: &str = "charts/chat-operator-crds";

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(relative)
}

fn text(relative: &str) -> Result<String> {
    std::fs::read_to_string(path(relative)).with_context(|| relative.to_owned())
}

fn documents(yaml: &str) -> Result<Vec<Value>> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml)?;
    Ok(all.into_iter().filter(|it| !it.is_null()).collect())
}

async fn helm(access: &Access, verb: &[&str], chart: &str, settings: &[&str]) -> Result<String> {
    let chart = path(chart);
    let mut arguments = verb.to_vec();
    arguments.push(chart.to_str().context("a path that is text")?);
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    access.helm(&arguments).await
}

async fn render(access: &Access, settings: &[&str]) -> Result<Vec<Value>> {
    let verb = ["template", "chat-operator", "--namespace", "chat-system"];
    documents(&helm(access, &verb, OPERATOR, settings).await?)
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|it| it["kind"] == kind).collect()
}

fn one<'a>(objects: &'a [Value], kind: &str) -> Result<&'a Value> {
    let found = of_kind(objects, kind);
    ensure!(found.len() == 1, "{} objects of kind {kind}", found.len());
    Ok(found[0])
}

#[tokio::test]
async fn both_charts_pass_the_strict_lint() -> Result<()> {
    let access = control_plane().await;
    for chart in [OPERATOR, DEFINITION] {
        helm(&access, &["lint", "--strict"], chart, &[]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_manifest_for_plain_kubectl_is_what_the_chart_renders() -> Result<()> {
    let access = control_plane().await;
    let verb = [
        "template",
        "chat-operator",
        "--namespace",
        "chat-system",
        "--no-hooks",
    ];
    let rendered = helm(&access, &verb, OPERATOR, &[]).await?;
    ensure!(
        documents(&rendered)? == documents(&text("infra/kustomize/operator.yaml")?)?,
        "out of date: run `cargo xtask generate`"
    );
    Ok(())
}

#[tokio::test]
async fn plain_kubectl_installs_definition_namespace_and_operator() -> Result<()> {
    let access = control_plane().await;
    let folder = path("infra/kustomize");
    let folder = folder.to_str().context("a path that is text")?;
    let objects = documents(&access.kubectl(&["kustomize", folder]).await?)?;
    one(&objects, "CustomResourceDefinition")?;
    let system = &one(&objects, "Namespace")?["metadata"]["name"];
    for kind in ["Deployment", "Service", "ServiceAccount", "Role"] {
        ensure!(one(&objects, kind)?["metadata"]["namespace"] == *system);
    }
    Ok(())
}

#[tokio::test]
async fn values_that_make_no_sense_are_refused_by_name() -> Result<()> {
    let access = control_plane().await;
    for (setting, name) in [
        ("replicas=0", "/replicas"),
        ("replicas=two", "/replicas"),
        ("watchNamespaces={Team A}", "/watchNamespaces/0"),
        ("watchNamespaces={a,a}", "/watchNamespaces"),
        ("image.digest=sha256:0", "/image/digest"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("otlpEndpoint=collector:4318", "/otlpEndpoint"),
        (
            "metrics.serviceMonitor.interval=often",
            "/metrics/serviceMonitor/interval",
        ),
        (
            "networkPolicy.apiServerPorts={0}",
            "/networkPolicy/apiServerPorts/0",
        ),
        ("watchNamespace=a", "watchNamespace"),
    ] {
        let Err(error) = render(&access, &[setting]).await else {
            anyhow::bail!("{setting} was accepted");
        };
        let error = format!("{error:#}");
        ensure!(error.contains(name), "{setting}: {error}");
    }
    Ok(())
}

#[tokio::test]
async fn named_namespaces_get_a_role_each_and_no_cluster_role_is_made() -> Result<()> {
    let access = control_plane().await;
    let objects = render(&access, &["watchNamespaces={red,blue}"]).await?;
    ensure!(of_kind(&objects, "ClusterRole").is_empty());
    ensure!(of_kind(&objects, "ClusterRoleBinding").is_empty());
    for kind in ["Role", "RoleBinding"] {
        let namespaces: BTreeSet<&str> = of_kind(&objects, kind)
            .iter()
            .filter_map(|it| it["metadata"]["namespace"].as_str())
            .collect();
        ensure!(namespaces == BTreeSet::from(["blue", "chat-system", "red"]));
    }
    let container = &one(&objects, "Deployment")?["spec"]["template"]["spec"]["containers"][0];
    let watched = json!({ "name": "WATCH_NAMESPACES", "value": "red,blue" });
    ensure!(
        container["env"]
            .as_array()
            .is_some_and(|env| env.contains(&watched))
    );
    Ok(())
}

/// A variable that the operator does not know would be ignored in silence.
#[tokio::test]
async fn every_variable_of_the_deployment_is_one_that_the_operator_reads() -> Result<()> {
    let access = control_plane().await;
    let settings = [
        "watchNamespaces={red}",
        "otlpEndpoint=http://collector:4318",
        "chats.version=1.0.0",
        "chats.images=mirror.example/chat",
        "chats.postgresImage=postgres:17",
        "chats.rabbitmqImage=rabbitmq:4",
        "chats.redisImage=redis:7",
        "chats.allowedRegistries={mirror.example}",
    ];
    let objects = render(&access, &settings).await?;
    let container = &one(&objects, "Deployment")?["spec"]["template"]["spec"]["containers"][0];
    let mut source = String::new();
    for file in std::fs::read_dir(path("operator/src"))? {
        let file = file?.path();
        if file.is_file() {
            source.push_str(&std::fs::read_to_string(file)?);
        }
    }
    let variables = container["env"].as_array().context("no variables")?;
    ensure!(variables.len() == 12, "{variables:?}");
    for variable in variables {
        let name = variable["name"].as_str().context("no name")?;
        ensure!(source.contains(&format!("env = \"{name}\"")), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn no_role_of_the_chart_has_a_star_or_more_than_the_lease_at_home() -> Result<()> {
    let access = control_plane().await;
    let mut objects = render(&access, &[]).await?;
    objects.extend(render(&access, &["watchNamespaces={red}"]).await?);
    let rules = |object: &Value| object["rules"].as_array().cloned().unwrap_or_default();
    for object in objects.iter().filter(|it| !it["rules"].is_null()) {
        ensure!(!rules(object).is_empty(), "{object} allows nothing");
        ensure!(!json!(rules(object)).to_string().contains('*'), "{object}");
    }
    for role in of_kind(&objects, "Role") {
        if role["metadata"]["namespace"] == "chat-system" {
            let others = rules(role)
                .into_iter()
                .find(|rule| rule["resources"] != json!(["leases"]));
            ensure!(others.is_none(), "{others:?}");
        }
    }
    Ok(())
}

/// An alert on a metric that nobody writes would never go off.
#[tokio::test]
async fn every_alert_is_on_a_metric_that_the_operator_writes() -> Result<()> {
    let access = control_plane().await;
    let objects = render(&access, &["metrics.prometheusRule.enabled=true"]).await?;
    let rules = &one(&objects, "PrometheusRule")?["spec"]["groups"][0]["rules"];
    let written = text("operator/src/metrics.rs")?;
    let mut known = BTreeSet::new();
    for rule in rules.as_array().context("no rules")? {
        ensure!(rule["annotations"]["summary"].is_string(), "{rule}");
        let expression = rule["expr"].as_str().context("no expression")?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = expression.split(|c| !is_word(c));
        let mut metrics = words
            .filter(|word| word.starts_with("chat_operator_"))
            .map(|word| word.trim_end_matches("_bucket"))
            .peekable();
        ensure!(metrics.peek().is_some(), "{expression}");
        for metric in metrics {
            ensure!(written.contains(&format!("\"{metric}\"")), "{metric}");
            known.insert(metric.to_owned());
        }
        ensure!(
            expression.contains("service=\"chat-operator\""),
            "{expression}"
        );
    }
    ensure!(known.len() == 4, "{known:?}");
    ensure!(of_kind(&render(&access, &[]).await?, "PrometheusRule").is_empty());
    Ok(())
}

#[tokio::test]
async fn one_replica_has_no_disruption_budget_that_would_block_a_drain() -> Result<()> {
    let access = control_plane().await;
    let budget = "PodDisruptionBudget";
    ensure!(of_kind(&render(&access, &["replicas=1"]).await?, budget).is_empty());
    one(&render(&access, &["replicas=2"]).await?, budget)?;
    Ok(())
}

#[tokio::test]
async fn a_registry_and_a_digest_name_the_image_of_every_pod() -> Result<()> {
    let access = control_plane().await;
    let digest = format!("sha256:{}", "ab".repeat(32));
    let image = format!("image.digest={digest}");
    let objects = render(&access, &["image.registry=mirror.example/chat", &image]).await?;
    let expected = format!("mirror.example/chat/chatcluster/operator@{digest}");
    let deployment = &one(&objects, "Deployment")?["spec"]["template"];
    for pod in [deployment, one(&objects, "Pod")?] {
        ensure!(pod["spec"]["containers"][0]["image"] == *expected, "{pod}");
    }
    Ok(())
}

#[tokio::test]
async fn the_definition_in_the_chart_is_that_of_the_repository_and_is_kept() -> Result<()> {
    let access = control_plane().await;
    let definition = text("crds/chatcluster.yaml")?;
    ensure!(definition == text("charts/chat-operator-crds/files/chatcluster.yaml")?);
    let rendered = helm(&access, &["template", "crds"], DEFINITION, &[]).await?;
    let mut rendered = documents(&rendered)?;
    ensure!(rendered.len() == 1);
    let annotations = rendered[0]["metadata"]["annotations"]
        .as_object_mut()
        .context("no annotations")?;
    ensure!(annotations.remove("helm.sh/resource-policy") == Some(json!("keep")));
    if annotations.is_empty() {
        rendered[0]["metadata"]
            .as_object_mut()
            .context("no metadata")?
            .remove("annotations");
    }
    let source = documents(&definition)?;
    ensure!(as_floats(&rendered[0]) == as_floats(&source[0]));
    Ok(())
}

/// Helm writes 1.0 as 1.
fn as_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(as_floats).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), as_floats(value)))
            .collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn pods_of_the_chart_are_let_into_a_restricted_namespace() -> Result<()> {
    let place = namespace().await;
    let (access, name) = (&place.access, place.name.as_str());
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    access
        .kubectl(&["label", "namespace", name, enforce])
        .await?;
    let objects = render(access, &[]).await?;
    let mut pods = vec![one(&objects, "Pod")?.clone()];
    let mut template = one(&objects, "Deployment")?["spec"]["template"].clone();
    template["apiVersion"] = json!("v1");
    template["kind"] = json!("Pod");
    template["metadata"]["name"] = json!("operator");
    // Its own account is made by the chart, not by this test.
    template["spec"]["serviceAccountName"] = json!("default");
    pods.push(template);
    for mut pod in pods {
        pod["metadata"]["namespace"] = json!(name);
        access.apply(&pod.to_string()).await?;
        // The profile is what decides: without it the same pod is refused.
        pod["metadata"]["name"] = json!("loose");
        pod["spec"]["securityContext"] = json!({});
        let error = access.apply(&pod.to_string()).await;
        ensure!(error.is_err_and(|it| it.to_string().contains("violates PodSecurity")));
    }
    Ok(())
}

#[tokio::test]
async fn an_operator_for_named_namespaces_may_act_there_and_nowhere_else() -> Result<()> {
    let (home, watched, other) = (namespace().await, namespace().await, namespace().await);
    let access = &home.access;
    let watch = format!("watchNamespaces={{{}}}", watched.name);
    let verb = ["install", "op", "--namespace", home.name.as_str()];
    let name = "fullnameOverride=op";
    helm(access, &verb, OPERATOR, &[&watch, name]).await?;
    let account = format!("--as=system:serviceaccount:{}:op", home.name);
    for (what, place, allowed) in [
        ("deployments.apps", &watched.name, true),
        ("secrets", &watched.name, true),
        ("secrets", &other.name, false),
        ("secrets", &home.name, false),
        ("pods", &watched.name, false),
    ] {
        // kubectl ends with an error when the answer is no.
        let answer = access
            .kubectl(&[
                "auth",
                "can-i",
                "create",
                what,
                "--namespace",
                place,
                &account,
            ])
            .await;
        ensure!(answer.is_ok() == allowed, "{what} in {place}: {answer:?}");
    }
    access
        .helm(&["uninstall", "op", "--namespace", &home.name])
        .await?;
    Ok(())
}

#[tokio::test]
async fn the_definition_follows_an_upgrade_and_chats_outlive_both_charts() -> Result<()> {
    let plane = own_control_plane(Options::default()).await;
    let access: &Access = &plane;
    let definition = ["--namespace", "kube-system", "--wait"];
    let chart = path(DEFINITION);
    let chart = chart.to_str().context("a path that is text")?;
    let install = [&["install", "crds", chart], &definition[..]].concat();
    access.helm(&install).await?;
    let verb = ["install", "op", "--namespace", "kube-system"];
    helm(access, &verb, OPERATOR, &[]).await?;
    access.apply(&text("infra/skaffold/demo.yaml")?).await?;
    access.apply(&text("crds/examples/minimal.yaml")?).await?;
    let chats = ["get", "chat", "--all-namespaces", "--output=name"];
    let before = access.kubectl(&chats).await?;
    ensure!(before.lines().count() == 2, "{before}");

    let next = next_version(&plane.folder)?;
    let upgrade = [&["upgrade", "crds", &next], &definition[..]].concat();
    access.helm(&upgrade).await?;
    let definition = ["get", "crd", "chatclusters.chatcluster.io", "--output=json"];
    let definition = access.kubectl(&definition).await?;
    ensure!(definition.contains("What the next version knows."));

    for release in ["op", "crds"] {
        access
            .helm(&["uninstall", release, "--namespace", "kube-system", "--wait"])
            .await?;
    }
    ensure!(access.kubectl(&chats).await? == before, "a chat is gone");

    // Kept is not stranded: the chart takes back what it left.
    access.helm(&install).await?;
    ensure!(access.kubectl(&chats).await? == before, "a chat is gone");
    access
        .kubectl(&[
            "delete",
            "chat",
            "--all",
            "--namespace=chat",
            "--timeout=20s",
        ])
        .await?;
    Ok(())
}

/// The chart of the definition with one field more.
fn next_version(folder: &Path) -> Result<String> {
    let chart = folder.join("chat-operator-crds");
    for file in [
        "Chart.yaml",
        "values.yaml",
        "templates/chatcluster.yaml",
        "files/chatcluster.yaml",
    ] {
        let target = chart.join(file);
        std::fs::create_dir_all(target.parent().context("it has a parent")?)?;
        std::fs::copy(path(DEFINITION).join(file), target)?;
    }
    let file = chart.join("files/chatcluster.yaml");
    let mut definition = documents(&std::fs::read_to_string(&file)?)?.remove(0);
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        ["motto"] = json!({ "type": "string", "description": "What the next version knows." });
    std::fs::write(&file, definition.to_string())?;
    Ok(chart.to_str().context("a path that is text")?.to_owned())
}
