//! The definition of `ChatCluster`, as a real API server understands it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_kube::testing::{TestNamespace, namespace};
use kube::Api;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};

#[path = "../../operator/src/crd/tests/cases.rs"]
mod cases;

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(relative)
}

/// A namespace of a cluster that knows `ChatCluster`.
async fn defined() -> Result<TestNamespace> {
    let space = namespace().await;
    let definition = std::fs::read_to_string(path("crds/chatcluster.yaml"))?;
    space.access.apply(&definition).await?;
    let established = [
        "wait",
        "--for=condition=Established",
        "crd/chatclusters.chatcluster.io",
        "--timeout=60s",
    ];
    space.access.kubectl(&established).await?;
    let list = ["get", "chats", "--namespace", &space.name];
    once_known(&space, &list).await?;
    Ok(space)
}

/// The API server tells of a new kind a little after it knows it, and kubectl
/// remembers for a while what it was told.
async fn once_known(space: &TestNamespace, arguments: &[&str]) -> Result<String> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match space.access.kubectl(arguments).await {
            Ok(answer) => return Ok(answer),
            Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
    }
}

fn chats(space: &TestNamespace) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("chatcluster.io", "v1alpha1", "ChatCluster");
    let resource = ApiResource::from_gvk_with_plural(&kind, "chatclusters");
    Api::namespaced_with(space.client.clone(), &space.name, &resource)
}

fn chat(name: &str, spec: &Value) -> Result<DynamicObject> {
    let mut spec = spec.clone();
    spec["host"] = "chat.example.com".into();
    Ok(serde_json::from_value(json!({
        "apiVersion": "chatcluster.io/v1alpha1",
        "kind": "ChatCluster",
        "metadata": {"name": name},
        "spec": spec,
    }))?)
}

/// What the server would say of a new object, or of a change.
async fn verdict(
    chats: &Api<DynamicObject>,
    stored: Option<&DynamicObject>,
    spec: &Value,
) -> Result<String> {
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let outcome = match stored {
        None => chats.create(&dry, &chat("rule", spec)?).await,
        Some(stored) => {
            let mut changed = chat("rule", spec)?;
            changed.metadata.clone_from(&stored.metadata);
            let name = stored.metadata.name.as_deref().context("a name")?;
            chats.replace(name, &dry, &changed).await
        }
    };
    match outcome {
        Ok(_) => Ok(String::new()),
        Err(kube::Error::Api(status)) => Ok(status.message.clone()),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn every_rule_accepts_what_keeps_it_and_refuses_what_breaks_it() -> Result<()> {
    let space = defined().await?;
    let chats = chats(&space);
    for (number, case) in cases::cases().into_iter().enumerate() {
        let stored = match &case.before {
            None => None,
            Some(before) => {
                let object = chat(&format!("rule-{number}"), before)?;
                Some(chats.create(&PostParams::default(), &object).await?)
            }
        };
        let kept = verdict(&chats, stored.as_ref(), &case.kept).await?;
        ensure!(kept.is_empty(), "{}: {kept}", case.message);
        let broken = verdict(&chats, stored.as_ref(), &case.broken).await?;
        ensure!(broken.contains(case.message), "{}: {broken}", case.message);
    }
    Ok(())
}

#[tokio::test]
async fn names_that_would_make_bad_names_of_objects_are_refused() -> Result<()> {
    let space = defined().await?;
    let chats = chats(&space);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let spec = json!({});
    chats.create(&dry, &chat(&"a".repeat(40), &spec)?).await?;
    for bad in ["a.b", "1a", &"a".repeat(41)] {
        let refusal = chats.create(&dry, &chat(bad, &spec)?).await;
        let refusal = refusal
            .err()
            .with_context(|| format!("{bad} was accepted"))?;
        ensure!(
            refusal.to_string().contains("at most 40 characters"),
            "{refusal}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_spec_with_a_host_alone_is_stored_with_every_default() -> Result<()> {
    let space = defined().await?;
    let chats = chats(&space);
    let stored = chats
        .create(&PostParams::default(), &chat("demo", &json!({}))?)
        .await?;
    let spec = &stored.data["spec"];
    ensure!(spec["size"] == "small", "{spec:#}");
    ensure!(spec["postgres"]["managed"]["storage"] == "5Gi", "{spec:#}");
    ensure!(
        spec["exposure"]["ingress"]["className"] == "nginx",
        "{spec:#}"
    );
    ensure!(
        spec["services"]["socketHandler"]["drainSeconds"] == 25,
        "{spec:#}"
    );
    ensure!(spec["security"]["networkPolicy"] == true, "{spec:#}");
    Ok(())
}

#[tokio::test]
async fn every_example_can_be_applied() -> Result<()> {
    let space = defined().await?;
    for entry in std::fs::read_dir(path("crds/examples"))? {
        let file = entry?.path();
        let file = file.to_str().context("a path that is text")?;
        let apply = ["apply", "--namespace", &space.name, "--filename", file];
        space.access.kubectl(&apply).await?;
    }
    let names = ["get", "chats", "--namespace", &space.name, "--output=name"];
    let names = space.access.kubectl(&names).await?;
    ensure!(names.lines().count() >= 6, "{names}");
    Ok(())
}

#[tokio::test]
async fn kubectl_explains_a_field_with_its_values() -> Result<()> {
    let space = defined().await?;
    let text = once_known(&space, &["explain", "chat.spec.size"]).await?;
    for part in ["Replicas and resources", "small", "medium", "large"] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    let text = once_known(&space, &["explain", "chat.spec.exposure.ingress"]).await?;
    ensure!(text.contains("The IngressClass"), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_number_of_socket_handlers_can_be_scaled() -> Result<()> {
    let space = defined().await?;
    let chats = chats(&space);
    let sockets = json!({"services": {"socketHandler": {"replicas": 1}}});
    chats
        .create(&PostParams::default(), &chat("demo", &sockets)?)
        .await?;
    let scale = [
        "scale",
        "chat/demo",
        "--replicas=3",
        "--namespace",
        &space.name,
    ];
    space.access.kubectl(&scale).await?;
    let stored = chats.get("demo").await?;
    ensure!(stored.data["spec"]["services"]["socketHandler"]["replicas"] == 3);
    Ok(())
}
