//! Makes a folder of the node for each claim of the StorageClass `standard`, and
//! removes it when the claim is gone. The control plane has a provisioner of its own
//! for this, but its folders are root's whatever `fsGroup` a Pod asks for.

use std::convert::Infallible;
use std::path::Path;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::node;

/// As `manifests/storage.yaml` says.
const OURS: &str = "chatcluster.io/folders";
const ASKED: &str = "volume.kubernetes.io/storage-provisioner";
const MADE: &str = "pv.kubernetes.io/provisioned-by";

/// Until its runtime ends.
pub async fn provision(client: Client, folder: &Path) -> Result<Infallible> {
    let claims: Api<PersistentVolumeClaim> = Api::all(client.clone());
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let changes = stream::select(
        watcher(claims, watcher::Config::default())
            .default_backoff()
            .map_ok(drop),
        watcher(volumes, watcher::Config::default())
            .default_backoff()
            .map_ok(drop),
    );
    futures::pin_mut!(changes);
    while let Some(change) = changes.next().await {
        let done = match change {
            Ok(()) => sweep(&client, folder).await,
            Err(error) => Err(error.into()),
        };
        // The next change, or the watch that begins anew, tries again.
        if let Err(error) = done {
            tracing::warn!("volumes: {error:#}");
        }
    }
    bail!("watches have an end")
}

/// Everything that is to do, as the API server says now.
async fn sweep(client: &Client, folder: &Path) -> Result<()> {
    let claims: Api<PersistentVolumeClaim> = Api::all(client.clone());
    for claim in claims.list(&ListParams::default()).await? {
        let bound = claim.spec.as_ref().and_then(|it| it.volume_name.as_ref());
        let ours = claim.annotations().get(ASKED).is_some_and(|it| it == OURS);
        if ours && bound.is_none() {
            make(client, folder, &claim).await?;
        }
    }
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    for volume in volumes.list(&ListParams::default()).await? {
        let phase = volume.status.as_ref().and_then(|it| it.phase.as_deref());
        let ours = volume.annotations().get(MADE).is_some_and(|it| it == OURS);
        if ours && phase == Some("Released") && is_to_go(&volume) {
            remove(client, folder, &volume.name_any()).await?;
        }
    }
    Ok(())
}

async fn make(client: &Client, folder: &Path, claim: &PersistentVolumeClaim) -> Result<()> {
    let name = format!("pvc-{}", claim.uid().context("a claim without a uid")?);
    let path = folder.join(&name);
    std::fs::create_dir_all(&path)?;
    let spec = claim.spec.as_ref().context("a claim without a spec")?;
    let resources = spec.resources.as_ref();
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": { "name": name, "annotations": { MADE: OURS } },
        "spec": {
            "capacity": resources.and_then(|it| it.requests.as_ref()),
            "accessModes": spec.access_modes,
            "storageClassName": spec.storage_class_name,
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace(),
                "name": claim.name_any(),
                "uid": claim.uid(),
            },
            // Of all kinds of folders the one that heeds `fsGroup`.
            "local": { "path": path },
            "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [{
                "key": "kubernetes.io/hostname", "operator": "In", "values": [node::NAME],
            }]}]}},
        },
    }))?;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    match volumes.create(&PostParams::default(), &volume).await {
        // Made before, but not bound yet.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        made => made.map(drop).context("a volume was refused"),
    }
}

async fn remove(client: &Client, folder: &Path, name: &str) -> Result<()> {
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    match std::fs::remove_dir_all(folder.join(name)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        removed => removed.with_context(|| format!("{name} cannot be removed"))?,
    }
    match volumes.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        deleted => Ok(deleted.map(drop)?),
    }
}

fn is_to_go(volume: &PersistentVolume) -> bool {
    let spec = volume.spec.as_ref();
    let policy = spec.and_then(|it| it.persistent_volume_reclaim_policy.as_deref());
    policy == Some("Delete") && volume.metadata.deletion_timestamp.is_none()
}
