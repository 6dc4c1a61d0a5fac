//! Volumes of a StatefulSet that should be larger.
//!
//! A StatefulSet cannot change its volume claims. So each claim is made larger by
//! itself, and the StatefulSet is removed without its pods; the next pass makes it
//! anew, and it takes over the pods that kept running.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PropagationPolicy};
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::plan::Desired;
use super::send::{self, Error, call};
use crate::chat::Chat;
use crate::digest::MANAGER;

/// Returns `refused`, what the server said of the change, when it is not about volumes.
pub async fn grow(
    client: &Client,
    chat: &Chat,
    desired: &Desired,
    refused: Error,
) -> Result<(), Error> {
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        &chat.key.namespace,
        &desired.kind.resource(),
    );
    let live = call("get", desired, || api.get(&desired.name)).await?;
    let larger = larger(&desired.body, &live.data);
    if larger.is_empty() {
        return Err(refused);
    }
    for (template, size) in larger {
        grow_claims(client, chat, &format!("{template}-{}", desired.name), &size).await?;
    }
    let uid = live.metadata.uid.unwrap_or_default();
    tracing::info!(chat = %chat.key, name = desired.name, "made anew around its pods: its volumes grow");
    let orphan = PropagationPolicy::Orphan;
    send::delete_with(client, chat, desired.kind, &desired.name, &uid, orphan).await
}

/// The claims of all pods that there ever were, as each may come back.
async fn grow_claims(client: &Client, chat: &Chat, prefix: &str, size: &str) -> Result<(), Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &chat.key.namespace);
    let patch = Patch::Merge(json!({"spec": {"resources": {"requests": {"storage": size}}}}));
    for ordinal in 0.. {
        let name = format!("{prefix}-{ordinal}");
        let object = format!("PersistentVolumeClaim {name}");
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match call("grow", &object, || api.patch(&name, &parameters, &patch)).await {
            Ok(_) => {}
            Err(Error::Call {
                source: kube::Error::Api(status),
                ..
            }) if status.is_not_found() => break,
            Err(Error::Call { source, .. }) => return Err(Error::Volumes { object, source }),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Name and new size of the claim templates whose size differs; sizes never shrink,
/// which the schema of a ChatCluster says.
fn larger(desired: &Value, live: &Value) -> Vec<(String, String)> {
    let templates = |object: &Value| -> Vec<(String, String)> {
        let templates = object.pointer("/spec/volumeClaimTemplates");
        templates
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|template| {
                let name = template.pointer("/metadata/name")?.as_str()?;
                let size = template.pointer("/spec/resources/requests/storage")?;
                Some((name.to_owned(), size.as_str()?.to_owned()))
            })
            .collect()
    };
    let live = templates(live);
    templates(desired)
        .into_iter()
        .filter(|template| !live.contains(template))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(size: &str) -> Value {
        json!({"spec": {"volumeClaimTemplates": [
            {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}},
        ]}})
    }

    #[test]
    fn a_size_that_differs_is_one_that_grows() {
        assert_eq!(
            larger(&set("10Gi"), &set("5Gi")),
            [("data".to_owned(), "10Gi".to_owned())]
        );
        assert!(larger(&set("5Gi"), &set("5Gi")).is_empty());
    }
}
