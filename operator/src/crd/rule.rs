//! Rules that the API server checks before it stores an object.

use schemars::Schema;
use serde_json::json;

/// Pairs of an expression in CEL and the message for those who break it.
pub fn rules(rules: &[(&str, &str)]) -> impl FnMut(&mut Schema) + use<> {
    let rules: Vec<_> = rules
        .iter()
        .map(|(rule, message)| json!({ "rule": rule, "message": message }))
        .collect();
    move |schema: &mut Schema| {
        schema.insert("x-kubernetes-validations".into(), rules.clone().into());
    }
}
