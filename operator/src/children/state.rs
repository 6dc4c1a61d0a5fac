//! What the status of a child says. Pure.

use serde_json::Value;

use super::Child;

/// A condition of a watched status.
pub fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = status.pointer("/status/conditions")?.as_array()?;
    conditions
        .iter()
        .find(|it| it.get("type").and_then(Value::as_str) == Some(kind))
}

pub fn is_true(status: &Value, kind: &str) -> bool {
    condition(status, kind)
        .is_some_and(|it| it.get("status").and_then(Value::as_str) == Some("True"))
}

/// Whether a Deployment or StatefulSet has nothing but available pods of its newest revision.
pub fn is_rolled_out(child: &Child) -> bool {
    let count = |field| number(&child.status, field);
    !has_old_pods(child) && count("availableReplicas") == count("replicas")
}

/// Whether pods of an older revision run which are still to be replaced.
pub fn has_old_pods(child: &Child) -> bool {
    let count = |field| number(&child.status, field);
    let observed = child.status.pointer("/status/observedGeneration");
    observed.is_none_or(|observed| Some(observed) != child.status.get("generation"))
        || count("updatedReplicas") != count("replicas")
}

/// Pods of a Deployment or StatefulSet. Kubernetes before 1.35 does not count those of
/// a Deployment that are ending.
pub fn pods(child: &Child) -> i32 {
    let count = |field| number(&child.status, field);
    count("replicas") + count("terminatingReplicas")
}

/// A count of a watched status, 0 when it is not there.
pub fn number(status: &Value, field: &str) -> i32 {
    status
        .pointer(&format!("/status/{field}"))
        .and_then(Value::as_i64)
        .and_then(|count| i32::try_from(count).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_true;

    #[test]
    fn a_condition_holds_when_it_is_true() {
        let status = json!({"status": {"conditions": [
            {"type": "Complete", "status": "True"}, {"type": "Failed", "status": "False"},
        ]}});
        assert!(is_true(&status, "Complete"));
        assert!(!is_true(&status, "Failed"));
        assert!(!is_true(&json!({}), "Failed"));
    }
}
