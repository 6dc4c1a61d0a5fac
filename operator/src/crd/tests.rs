use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::*;

mod cases;

use cases::cases;

fn schema() -> Value {
    let definition = serde_json::to_value(ChatCluster::crd()).expect("a definition is JSON");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Calls `visit` with the path and the schema of every field of ours.
fn fields(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, field) in properties {
            let path = format!("{path}.{name}");
            visit(&path, field);
            fields(&path, field, visit);
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = schema.get(inner) {
            fields(&format!("{path}[]"), schema, visit);
        }
    }
}

fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(all) => {
            let rules = all
                .get("x-kubernetes-validations")
                .and_then(Value::as_array);
            for rule in rules.into_iter().flatten() {
                let message = rule["message"].as_str().expect("every rule has a message");
                found.insert(message.to_owned());
            }
            all.values().for_each(|inner| messages(inner, found));
        }
        Value::Array(all) => all.iter().for_each(|inner| messages(inner, found)),
        _ => {}
    }
}

#[test]
fn the_committed_definition_is_the_generated_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/chatcluster.yaml");
    let committed = std::fs::read_to_string(file).expect("crds/chatcluster.yaml is there");
    assert!(
        committed == definition().expect("it is YAML"),
        "run `cargo xtask generate`"
    );
}

#[test]
fn the_definition_is_small_enough_for_plain_apply() {
    let size = definition().expect("it is YAML").len();
    assert!(size < 100_000, "{size} bytes");
}

#[test]
fn no_text_of_the_definition_would_be_read_as_a_boolean() {
    let text = definition().expect("it is YAML");
    for line in text.lines() {
        let value = line
            .rsplit_once([' ', ':'])
            .map_or(line, |(_, value)| value);
        assert!(
            !["yes", "no", "on", "off", "y", "n"].contains(&value),
            "{line}"
        );
    }
    let read: Value = serde_saphyr::from_str(&text).expect("it can be read");
    let made = serde_json::to_value(ChatCluster::crd()).expect("a definition is JSON");
    assert_eq!(read, made);
}

#[test]
fn every_field_has_a_sentence() {
    fields("", &schema(), &mut |path, field| {
        if [".metadata", ".apiVersion", ".kind"].contains(&path) {
            return;
        }
        let text = field["description"].as_str().unwrap_or_default();
        assert!(text.len() > 5, "{path} has no description");
    });
}

#[test]
fn every_field_but_the_host_has_a_default_or_may_be_absent() {
    let schema = schema();
    let spec = &schema["properties"]["spec"];
    assert_eq!(spec["required"], json!(["host"]));
    for (name, field) in spec["properties"].as_object().expect("fields") {
        assert_eq!(name != "host", !field["default"].is_null(), "{name}");
    }
    assert_eq!(spec["properties"]["size"]["default"], "small");
    assert_eq!(
        spec["properties"]["postgres"]["default"]["managed"]["storage"],
        "5Gi"
    );
    let auth = &spec["properties"]["services"]["properties"]["auth"];
    assert_eq!(
        auth["properties"]["autoscaling"]["properties"]["max"]["default"],
        10
    );
}

#[test]
fn no_field_takes_a_whole_pod() {
    fields("", &schema(), &mut |path, field| {
        let open = field["x-kubernetes-preserve-unknown-fields"] == true;
        assert!(
            !open || path.ends_with(".podOverrides"),
            "{path} takes anything"
        );
    });
}

#[test]
fn a_spec_with_a_host_alone_means_all_defaults() {
    let read: ChatClusterSpec =
        serde_json::from_value(json!({"host": "chat.example.com"})).expect("a spec");
    assert_eq!(read.size, Size::Small);
    assert_eq!(read.deletion_policy, DeletionPolicy::Retain);
    assert_eq!(read.exposure.ingress.class_name, "nginx");
    assert!(read.security.network_policy);
}

const NAME: &str = "metadata.name must be at most 40 characters of a-z, 0-9 and '-', and begin with a letter: \
    the names of all objects are made from it";

fn chat(name: &str, mut spec: Value) -> ChatCluster {
    spec["host"] = "chat.example.com".into();
    let spec = serde_json::from_value(spec).expect("a spec");
    ChatCluster::new(name, spec)
}

/// What the rules say of a spec, and of a change to it.
fn verdict(before: Option<&Value>, spec: &Value) -> String {
    let new = chat("demo", spec.clone());
    let outcome = match before {
        None => new.validate_cel(),
        Some(before) => new.validate_cel_update(&chat("demo", before.clone())),
    };
    outcome
        .err()
        .map(|errors| errors.to_string())
        .unwrap_or_default()
}

#[test]
fn every_rule_has_an_example() {
    let mut written = BTreeSet::new();
    messages(&schema(), &mut written);
    let tried: BTreeSet<_> = cases()
        .into_iter()
        .map(|case| case.message.to_owned())
        .chain([NAME.to_owned()])
        .collect();
    assert_eq!(written, tried);
}

#[test]
fn every_rule_accepts_what_keeps_it_and_refuses_what_breaks_it() {
    for case in cases() {
        let before = case.before.as_ref();
        assert_eq!(verdict(before, &case.kept), "", "{}", case.message);
        let refusal = verdict(before, &case.broken);
        assert!(
            refusal.contains(case.message),
            "{}: {refusal:?}",
            case.message
        );
    }
}

#[test]
fn names_that_would_make_bad_names_of_objects_are_refused() {
    let longest = "a".repeat(40);
    for good in ["demo", "a", "a-1", &longest] {
        chat(good, json!({})).validate_cel().expect(good);
    }
    let too_long = "a".repeat(41);
    for bad in ["1a", "a.b", "-a", "a-", "A", &too_long] {
        let refusal = chat(bad, json!({})).validate_cel().expect_err(bad);
        assert!(refusal.to_string().contains(NAME), "{refusal}");
    }
}
