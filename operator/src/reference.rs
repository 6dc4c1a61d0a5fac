//! `docs/reference/chatcluster.md`: every field of the definition, its default
//! and its rules, as Markdown.

use std::fmt::Write;

use kube::CustomResourceExt;
use serde_json::{Map, Value};

use crate::crd::ChatCluster;

/// The page.
pub fn page() -> String {
    let definition = serde_json::to_value(ChatCluster::crd()).unwrap_or_default();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut out = String::from(
        "# ChatCluster\n\n`chatcluster.io/v1alpha1`, short name `chat`, category `chats`. \
         `kubectl explain chat.spec` says the same on a cluster. \
         This page is generated; `cargo xtask generate` writes it.\n",
    );
    for part in ["spec", "status"] {
        let _ = write!(
            out,
            "\n## {part}\n\n| field | type | default | meaning |\n| --- | --- | --- | --- |\n"
        );
        fields(&mut out, "", &schema["properties"][part]);
    }
    out.push_str("\n## Rules\n\nThe API server refuses what breaks one of these.\n\n");
    rules(&mut out, schema);
    out
}

fn fields(out: &mut String, above: &str, schema: &Value) {
    let empty = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&empty);
    let required = schema["required"].as_array();
    for (name, field) in properties {
        let path = format!("{above}{name}");
        let needed = required.is_some_and(|all| all.iter().any(|it| it == name));
        let default = match &field["default"] {
            _ if needed => "required".to_owned(),
            Value::Null => String::new(),
            Value::Object(_) if field["properties"].is_object() => "as below".to_owned(),
            value => format!("`{value}`"),
        };
        let meaning = field["description"].as_str().unwrap_or_default();
        let meaning = meaning.replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(
            out,
            "| `{path}` | {} | {default} | {meaning} |",
            kind(field)
        );
        // What a condition is, is known.
        if name != "conditions" {
            fields(out, &format!("{path}."), field);
            fields(out, &format!("{path}[]."), &field["items"]);
            fields(out, &format!("{path}.*."), &field["additionalProperties"]);
        }
    }
}

fn kind(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<_> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"))
            .collect();
        return values.join(", ");
    }
    let name = field["type"].as_str().unwrap_or("any");
    match (name, field.get("items"), field.get("additionalProperties")) {
        ("array", Some(items), _) => format!("list of {}", kind(items)),
        ("object", _, Some(values)) => format!("map of {}", kind(values)),
        _ => name.to_owned(),
    }
}

fn rules(out: &mut String, schema: &Value) {
    match schema {
        Value::Object(all) => {
            let own = all
                .get("x-kubernetes-validations")
                .and_then(Value::as_array);
            for rule in own.into_iter().flatten() {
                let _ = writeln!(out, "- {}", rule["message"].as_str().unwrap_or_default());
            }
            all.values().for_each(|value| rules(out, value));
        }
        Value::Array(all) => all.iter().for_each(|value| rules(out, value)),
        _ => {}
    }
}
