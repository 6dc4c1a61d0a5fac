//! Every example of `crds/examples`, rendered without a cluster.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chat_operator::build::build;
use chat_operator::crd::ChatCluster;
use chat_operator::render;
use chat_operator::validate::Defaults;
use clap::Parser;
use proptest::prelude::*;
use serde_json::{Value, json};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    defaults: Defaults,
}

fn defaults() -> Defaults {
    Flags::parse_from(["operator"]).defaults
}

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn names(path: &str) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder(path)).context(path.to_owned())? {
        let path = entry?.path();
        let stem = path.file_stem().context("a file has a name")?;
        names.insert(stem.to_string_lossy().into_owned());
    }
    Ok(names)
}

fn example(name: &str) -> Result<String> {
    let documents = render::read(&folder(&format!("../crds/examples/{name}.yaml")))?;
    let (chat, secrets) = render::sort(documents)?;
    let validated = render::offline(&chat, secrets, &defaults())?;
    render::print(build(&validated))
}

fn objects(name: &str) -> Result<Vec<Value>> {
    render::parse(&example(name)?)
}

#[test]
fn every_object_of_every_example_is_as_committed() -> Result<()> {
    for name in names("../crds/examples")? {
        let file = folder(&format!("tests/snapshots/{name}.yaml"));
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == example(&name)?,
            "{name} is built otherwise: run `cargo xtask generate`, and look at the difference"
        );
    }
    Ok(())
}

#[test]
fn no_snapshot_is_left_over() -> Result<()> {
    assert_eq!(names("tests/snapshots")?, names("../crds/examples")?);
    Ok(())
}

#[test]
fn the_same_example_gives_the_same_bytes() -> Result<()> {
    assert_eq!(example("production")?, example("production")?);
    Ok(())
}

#[test]
fn the_smallest_example_is_six_lines() -> Result<()> {
    let text = std::fs::read_to_string(folder("../crds/examples/minimal.yaml"))?;
    assert!(text.lines().count() <= 6);
    Ok(())
}

#[test]
fn every_example_keeps_the_rules_of_the_definition() -> Result<()> {
    for name in names("../crds/examples")? {
        let documents = render::read(&folder(&format!("../crds/examples/{name}.yaml")))?;
        let (chat, _) = render::sort(documents)?;
        chat.validate_cel().with_context(|| name)?;
    }
    Ok(())
}

/// The pods of Deployments, StatefulSets and Jobs.
fn pods(objects: &[Value]) -> Vec<(String, &Value)> {
    let kinds = ["Deployment", "StatefulSet", "Job"];
    objects
        .iter()
        .filter(|it| kinds.iter().any(|kind| it["kind"] == **kind))
        .map(|it| {
            let name = format!("{} {}", it["kind"], it["metadata"]["name"]);
            (name, &it["spec"]["template"]["spec"])
        })
        .collect()
}

/// What the restricted profile asks for, and a read-only root, no token and limits besides.
fn weaknesses(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut need = |holds: bool, what: &str| {
        if !holds {
            found.push(what.to_owned());
        }
    };
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        need(pod[field].is_null(), field);
    }
    let security = &pod["securityContext"];
    need(security["runAsNonRoot"] == true, "runAsNonRoot");
    need(security["runAsUser"].as_i64() >= Some(10_000), "runAsUser");
    need(
        security["seccompProfile"]["type"] == "RuntimeDefault",
        "seccompProfile",
    );
    need(pod["automountServiceAccountToken"] == false, "a token");
    need(pod["enableServiceLinks"] == false, "enableServiceLinks");
    need(pod["initContainers"].is_null(), "initContainers");
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let known = ["configMap", "secret", "projected", "emptyDir"];
        need(known.iter().any(|kind| !volume[kind].is_null()), "a volume");
    }
    for container in pod["containers"].as_array().into_iter().flatten() {
        let security = &container["securityContext"];
        need(
            security["allowPrivilegeEscalation"] == false,
            "allowPrivilegeEscalation",
        );
        need(
            security["readOnlyRootFilesystem"] == true,
            "readOnlyRootFilesystem",
        );
        need(
            security["capabilities"] == json!({"drop": ["ALL"]}),
            "capabilities",
        );
        for field in [
            "privileged",
            "procMount",
            "runAsUser",
            "runAsNonRoot",
            "seccompProfile",
        ] {
            need(security[field].is_null(), field);
        }
        for kind in ["requests", "limits"] {
            for resource in ["cpu", "memory"] {
                need(
                    container["resources"][kind][resource].is_string(),
                    "resources",
                );
            }
        }
        for port in container["ports"].as_array().into_iter().flatten() {
            need(port["hostPort"].is_null(), "hostPort");
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            need(
                variable["valueFrom"]["secretKeyRef"].is_null(),
                "a secret in env",
            );
        }
    }
    found
}

#[test]
fn every_pod_of_every_example_is_restricted() -> Result<()> {
    for name in names("../crds/examples")? {
        let objects = objects(&name)?;
        let pods = pods(&objects);
        assert!(pods.len() >= 10, "{name} has {} kinds of pods", pods.len());
        for (pod, spec) in pods {
            assert_eq!(weaknesses(spec), [""; 0], "{name}: {pod}");
        }
    }
    Ok(())
}

#[test]
fn probes_differ_by_what_they_are_for() -> Result<()> {
    let objects = objects("minimal")?;
    for deployment in objects.iter().filter(|it| it["kind"] == "Deployment") {
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
        let ready = match deployment["metadata"]["name"] == "demo-web" {
            true => "/readyz",
            false => "/readyz/requests",
        };
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], ready);
        assert_eq!(container["startupProbe"]["httpGet"]["path"], "/livez");
        assert_ne!(container["startupProbe"], container["livenessProbe"]);
    }
    Ok(())
}

#[test]
fn every_image_comes_from_the_one_registry() -> Result<()> {
    for (pod, spec) in pods(&objects("air-gapped")?) {
        for container in spec["containers"].as_array().context("containers")? {
            let image = container["image"].as_str().context("an image")?;
            assert!(
                image.starts_with("registry.internal.example/mirror/"),
                "{pod}: {image}"
            );
        }
        assert_eq!(spec["imagePullSecrets"][0]["name"], "registry", "{pod}");
    }
    Ok(())
}

#[test]
fn every_object_says_whose_it_is() -> Result<()> {
    for name in names("../crds/examples")? {
        let mut seen = BTreeSet::new();
        for object in objects(&name)? {
            let metadata = &object["metadata"];
            let labels = &metadata["labels"];
            assert_eq!(labels["app.kubernetes.io/managed-by"], "chat-operator");
            assert_eq!(labels["app.kubernetes.io/name"], "chatcluster");
            assert!(labels["app.kubernetes.io/component"].is_string());
            let owned = metadata["ownerReferences"][0]["controller"] == true;
            let kept = metadata["annotations"]["chatcluster.io/owner-uid"].is_string();
            assert!(owned != kept, "{}", metadata["name"]);
            let identity = format!("{} {}", object["kind"], metadata["name"]);
            assert!(seen.insert(identity.clone()), "{name} has {identity} twice");
            let length = metadata["name"].as_str().context("a name")?.len();
            assert!(length <= 63, "{identity}");
        }
    }
    Ok(())
}

/// Any value at all, and those that are likely to be meant.
fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z0-9.:/@-]{0,12}".prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!({})),
        Just(json!([])),
        Just(json!({"name": "s"})),
        Just(json!({"mode": "External", "external": {"secretRef": {"name": "s"}}})),
        Just(json!({"mode": "Delegated"})),
        Just(json!({"type": "Keda", "min": 0, "max": -1})),
        Just(json!({"spec": {"affinity": {"nodeAffinity": {}}, "tolerations": [{}]}})),
    ]
}

/// Every path to a value in `value`.
fn paths(value: &Value, above: &str, out: &mut Vec<String>) {
    if let Value::Object(fields) = value {
        for (name, inner) in fields {
            let path = format!("{above}/{name}");
            paths(inner, &path, out);
            out.push(path);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_spec_at_all_makes_the_operator_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), anything()), 1..4),
        secret in proptest::collection::btree_map("(host|port|username|password|dbname|JWT_KEY)", ".{0,40}", 0..6),
    ) {
        let full = ChatCluster::new("demo", serde_json::from_value(json!({"host": "chat.example.com"})).expect("a spec"));
        let mut object = serde_json::to_value(&full).expect("JSON");
        let mut all = Vec::new();
        paths(&object["spec"], "/spec", &mut all);
        for (which, value) in changes {
            if let Some(place) = object.pointer_mut(which.get(all.as_slice()).as_str()) {
                *place = value;
            }
        }
        // What does not fit the types never comes so far.
        if let Ok(chat) = serde_json::from_value::<ChatCluster>(object) {
            let data = secret.into_iter().map(|(key, value)| (key, value.into_bytes())).collect();
            if let Ok(validated) = render::offline(&chat, [("s".to_owned(), data)].into(), &defaults()) {
                render::print(build(&validated)).expect("YAML");
            }
        }
    }
}
