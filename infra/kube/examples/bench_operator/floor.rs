//! The floor: the objects of a chat, applied by a client that does nothing else.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::place::Place;
use crate::usage::Used;

/// Applies on their way at the same time: as many as one pass of the operator has.
const AT_ONCE: usize = 8;

/// What so many sets of objects took.
pub struct Floor {
    pub objects: usize,
    sets: u32,
    pub used: Used,
}

impl Floor {
    /// Milliseconds for one set.
    pub fn milliseconds(&self) -> f64 {
        self.per_set(self.used.wall)
    }

    /// CPU of the API server and etcd for one set, in milliseconds.
    pub fn server(&self) -> f64 {
        self.per_set(self.used.by("kube-apiserver") + self.used.by("etcd"))
    }

    fn per_set(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1000.0 / f64::from(self.sets)
    }
}

/// Applies so many sets into a namespace, `workers` sets at a time. No operator may
/// run: the objects are nobody's.
pub async fn measure(place: &Place, namespace: &str, sets: u32, workers: usize) -> Result<Floor> {
    let mut all = Vec::new();
    for number in 0..sets {
        all.push(objects(place, &format!("floor-{number:03}")).await?);
    }
    let objects = all.first().map_or(0, Vec::len);
    let meter = place.meter(None).await?;
    let sets_of_calls = all.into_iter().map(|set| apply_all(place, namespace, set));
    let outcomes: Vec<Result<()>> = futures::stream::iter(sets_of_calls)
        .buffer_unordered(workers)
        .collect()
        .await;
    outcomes.into_iter().collect::<Result<()>>()?;
    Ok(Floor {
        objects,
        sets,
        used: meter.end()?,
    })
}

/// What the operator would build, without owner and label, so that nobody minds it.
async fn objects(place: &Place, name: &str) -> Result<Vec<Value>> {
    let chat = json!({
        "apiVersion": "chatcluster.io/v1alpha1",
        "kind": "ChatCluster",
        "metadata": {"name": name},
        "spec": {"host": "chat.example.com", "observability": {"serviceMonitor": "Disabled"}},
    });
    let file = place.plane.folder.join(format!("{name}.json"));
    std::fs::write(&file, chat.to_string())?;
    let file = file.display().to_string();
    let printed = place.printed(&["render", "-f", &file]).await?;
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(&printed)?;
    for object in &mut objects {
        let metadata = object["metadata"].as_object_mut().context("no metadata")?;
        metadata.remove("namespace");
        metadata.remove("ownerReferences");
        // Without any, a Job would get those of its pods.
        metadata.insert("labels".to_owned(), json!({"floor": name}));
    }
    Ok(objects)
}

async fn apply_all(place: &Place, namespace: &str, set: Vec<Value>) -> Result<()> {
    let calls = set.into_iter().map(|it| apply(place, namespace, it));
    let outcomes: Vec<Result<()>> = futures::stream::iter(calls)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    outcomes.into_iter().collect()
}

async fn apply(place: &Place, namespace: &str, object: Value) -> Result<()> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion")
        .split_once('/')
        .unwrap_or(("", text("apiVersion")));
    let kind = GroupVersionKind::gvk(group, version, text("kind"));
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(place.client.clone(), namespace, &resource);
    let name = object["metadata"]["name"].as_str().context("no name")?;
    let parameters = PatchParams::apply("floor").force();
    api.patch(name, &parameters, &Patch::Apply(&object)).await?;
    Ok(())
}
