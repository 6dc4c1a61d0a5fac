//! Objects of kinds that we do not have as types.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

pub fn object(version: &str, kind: &str, metadata: ObjectMeta, spec: Value) -> DynamicObject {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let mut object = DynamicObject::new("", &resource).data(json!({ "spec": spec }));
    object.metadata = metadata;
    object
}
