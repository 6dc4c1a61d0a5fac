//! What of an object is ours, as one number. Pure.
//!
//! The server adds defaults to what we apply, and others may add fields of their
//! own, so a live object is never equal to the one that we built. But its
//! `managedFields` say which fields we own, and those alone are compared.

use std::hash::{DefaultHasher, Hash, Hasher};

use kube::core::DynamicObject;
use serde_json::{Map, Value};

/// The field manager of everything that the operator applies.
pub const MANAGER: &str = "chat-operator";

/// The digest of an object that we built.
pub fn of_desired(object: &Value) -> u64 {
    let mut object = object.clone();
    strip(&mut object);
    of(&object)
}

/// The digest of what we own in a live object, `None` when we own nothing: equal
/// to that of the desired object as long as nobody changed what is in it.
pub fn of_live(object: &DynamicObject) -> Option<u64> {
    let fields = object
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .find(|entry| {
            entry.manager.as_deref() == Some(MANAGER)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.as_deref().unwrap_or_default().is_empty()
        })?
        .fields_v1
        .as_ref()?;
    let live = serde_json::to_value(object).ok()?;
    let mut owned = project(&fields.0, &live);
    strip(&mut owned);
    Some(of(&owned))
}

/// The digest of any value: order of keys does not matter, nor do empty ones.
pub fn of(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash(value, &mut hasher);
    hasher.finish()
}

/// Names what it is called by: no part of what is compared.
fn strip(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    fields.remove("apiVersion");
    fields.remove("kind");
    if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("name");
        metadata.remove("namespace");
    }
    // The server owns nothing here, and yet adds to what we do.
    let templates = object.pointer_mut("/spec/volumeClaimTemplates");
    let templates = templates.and_then(Value::as_array_mut);
    for template in templates
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        template.retain(|field, _| matches!(field.as_str(), "metadata" | "spec"));
        if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("volumeMode");
        }
    }
}

/// The part of `live` that a `fieldsV1` set names.
fn project(fields: &Value, live: &Value) -> Value {
    let Some(fields) = fields.as_object().filter(|fields| !fields.is_empty()) else {
        return live.clone();
    };
    match live {
        Value::Object(live) => fields
            .iter()
            .filter_map(|(path, inner)| {
                let name = path.strip_prefix("f:")?;
                Some((name.to_owned(), project(inner, live.get(name)?)))
            })
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items
            .iter()
            .filter_map(|item| {
                let inner = fields.iter().find(|(path, _)| names(path, item))?.1;
                Some(project(inner, item))
            })
            .collect(),
        other => other.clone(),
    }
}

/// Whether a path element of a `fieldsV1` set means this item of a list.
fn names(path: &str, item: &Value) -> bool {
    if let Some(keys) = path.strip_prefix("k:") {
        let Ok(Value::Object(keys)) = serde_json::from_str(keys) else {
            return false;
        };
        return keys.iter().all(|(key, value)| item.get(key) == Some(value));
    }
    path.strip_prefix("v:")
        .and_then(|value| serde_json::from_str::<Value>(value).ok())
        .is_some_and(|value| value == *item)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

fn hash(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Null => 0_u8.hash(hasher),
        Value::Bool(value) => (1_u8, value).hash(hasher),
        Value::Number(value) => (2_u8, value.to_string()).hash(hasher),
        Value::String(value) => (3_u8, value).hash(hasher),
        Value::Array(items) => {
            (4_u8, items.len()).hash(hasher);
            for item in items {
                hash(item, hasher);
            }
        }
        Value::Object(fields) => {
            // The map's own order is a matter of a feature of serde_json.
            let mut fields: Vec<_> = fields.iter().filter(|(_, it)| !is_empty(it)).collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            (5_u8, fields.len()).hash(hasher);
            for (name, value) in fields {
                name.hash(hasher);
                hash(value, hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(fields: &Value, object: Value) -> DynamicObject {
        let mut object = object;
        object["metadata"]["managedFields"] = json!([
            {"manager": "kubectl", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {}},
            {"manager": MANAGER, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields},
        ]);
        serde_json::from_value(object).unwrap_or_else(|error| panic!("{error}"))
    }

    fn service() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "a", "namespace": "n", "labels": {"l": "1"}},
            "spec": {"ports": [{"name": "http", "port": 80}], "selector": {"app": "a"}},
        })
    }

    fn owned() -> Value {
        json!({
            "f:metadata": {"f:labels": {"f:l": {}}},
            "f:spec": {
                "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}}},
                "f:selector": {},
            },
        })
    }

    fn defaulted() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "labels": {"l": "1", "theirs": "2"}},
            "spec": {
                "clusterIP": "10.0.0.1",
                "ports": [
                    {"name": "theirs", "port": 81, "protocol": "TCP"},
                    {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80},
                ],
                "selector": {"app": "a"},
            },
        })
    }

    #[test]
    fn defaults_and_fields_of_others_do_not_matter() {
        assert_eq!(
            of_live(&live(&owned(), defaulted())),
            Some(of_desired(&service()))
        );
    }

    #[test]
    fn a_changed_value_matters() {
        let mut changed = defaulted();
        changed["metadata"]["labels"]["l"] = json!("9");
        assert_ne!(
            of_live(&live(&owned(), changed)),
            Some(of_desired(&service()))
        );
    }

    #[test]
    fn a_removed_item_matters() {
        let mut changed = defaulted();
        changed["spec"]["ports"] = json!([]);
        assert_ne!(
            of_live(&live(&owned(), changed)),
            Some(of_desired(&service()))
        );
    }

    #[test]
    fn a_field_that_somebody_took_over_matters() {
        let mut fields = owned();
        fields["f:metadata"]["f:labels"] = json!({});
        let mut taken = defaulted();
        taken["metadata"]["labels"] = json!({"l": "9"});
        assert_ne!(of_live(&live(&fields, taken)), Some(of_desired(&service())));
    }

    #[test]
    fn an_object_that_we_never_applied_has_no_digest() {
        let object: DynamicObject =
            serde_json::from_value(service()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(of_live(&object), None);
    }

    #[test]
    fn members_of_a_set_are_told_apart() {
        let fields = json!({"f:spec": {"f:finalizers": {"v:\"ours\"": {}}}});
        let object = live(
            &fields,
            json!({"metadata": {}, "spec": {"finalizers": ["theirs", "ours"]}}),
        );
        assert_eq!(
            of_live(&object),
            Some(of_desired(&json!({"spec": {"finalizers": ["ours"]}})))
        );
    }

    #[test]
    fn what_the_server_adds_to_a_claim_does_not_matter() {
        let claim =
            json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}});
        let mut filled = claim.clone();
        filled["kind"] = json!("PersistentVolumeClaim");
        filled["status"] = json!({"phase": "Pending"});
        filled["spec"]["volumeMode"] = json!("Filesystem");
        let set = |claim: Value| json!({"metadata": {}, "spec": {"volumeClaimTemplates": [claim]}});
        let fields = json!({"f:spec": {"f:volumeClaimTemplates": {}}});
        let digest = of_live(&live(&fields, set(filled)));
        assert_eq!(digest, Some(of_desired(&set(claim))));
    }

    #[test]
    fn empty_fields_are_no_fields() {
        assert_eq!(
            of_desired(&json!({"spec": {"a": 1, "b": [], "c": {}, "d": null}})),
            of_desired(&json!({"spec": {"a": 1}}))
        );
        assert_ne!(of(&json!({"a": [1, 2]})), of(&json!({"a": [2, 1]})));
    }
}
