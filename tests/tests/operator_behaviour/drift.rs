//! What somebody deletes or changes comes back.

use anyhow::{Result, ensure};
use chat_e2e::await_until;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::harness::Place;
use super::process::PATIENCE;

/// A chat with children of every kind.
fn full() -> serde_json::Value {
    json!({
        "host": "chat.example.com",
        "services": {
            "auth": {"replicas": 2},
            "web": {"autoscaling": {"type": "Hpa", "min": 2, "max": 3}},
        },
    })
}

#[tokio::test]
async fn a_child_of_any_kind_that_is_deleted_comes_back() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", full()).await?;
    place.ready("demo").await?;
    let children = place.children("demo").await?;
    for (_, _, kind) in super::harness::KINDS {
        ensure!(
            children.keys().any(|key| key.0 == kind),
            "there is no {kind}"
        );
    }
    for ((kind, name), before) in &children {
        let api = place.api_of(kind)?;
        api.delete(name, &DeleteParams::background()).await?;
        let what = format!("{kind} {name} is back");
        await_until(&what, PATIENCE, async || {
            let now = api.get_opt(name).await?;
            Ok(now.filter(|it| it.uid() != before.uid()))
        })
        .await?;
    }
    place.ready("demo").await
}

#[tokio::test]
async fn a_child_of_any_kind_that_is_changed_is_changed_back() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", full()).await?;
    place.ready("demo").await?;
    let label = "app.kubernetes.io/component";
    for ((kind, name), before) in place.children("demo").await? {
        // The kinds of children whose every field is fixed are replaced, not changed.
        if kind == "Job" {
            continue;
        }
        let api = place.api_of(&kind)?;
        let wrong =
            Patch::Merge(json!({"metadata": {"labels": {label: "wrong", "theirs": "stays"}}}));
        api.patch(&name, &PatchParams::default(), &wrong).await?;
        let what = format!("{kind} {name} is as it was");
        let now = await_until(&what, PATIENCE, async || {
            let now = api.get(&name).await?;
            Ok((now.labels().get(label) == before.labels().get(label)).then_some(now))
        })
        .await?;
        ensure!(
            now.labels().contains_key("theirs"),
            "the label of others was taken from {kind} {name}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_child_that_lost_our_labels_is_found_again() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", full()).await?;
    place.ready("demo").await?;
    let label = "app.kubernetes.io/managed-by";
    for kind in ["Service", "Deployment", "Secret"] {
        let api = place.api_of(kind)?;
        let bare = Patch::Merge(json!({"metadata": {"labels": {label: null}}}));
        api.patch("demo-auth", &PatchParams::default(), &bare)
            .await?;
        await_until("the label is back", PATIENCE, async || {
            Ok(api
                .get("demo-auth")
                .await?
                .labels()
                .contains_key(label)
                .then_some(()))
        })
        .await?;
    }
    place.ready("demo").await
}

#[tokio::test]
async fn the_content_of_a_config_map_and_the_spec_of_a_deployment_are_repaired() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", full()).await?;
    place.ready("demo").await?;
    let maps = place.api_of("ConfigMap")?;
    let before = maps.get("demo-auth").await?.data["data"].clone();
    let key = before
        .as_object()
        .and_then(|all| all.keys().next().cloned())
        .unwrap_or_default();
    let wrong = Patch::Merge(json!({"data": {&key: "wrong"}}));
    maps.patch("demo-auth", &PatchParams::default(), &wrong)
        .await?;
    await_until("the content is back", PATIENCE, async || {
        Ok((maps.get("demo-auth").await?.data["data"] == before).then_some(()))
    })
    .await?;

    let deployments = place.api_of("Deployment")?;
    let wrong = Patch::Merge(json!({"spec": {"replicas": 0}}));
    deployments
        .patch("demo-auth", &PatchParams::default(), &wrong)
        .await?;
    await_until("the replicas are back", PATIENCE, async || {
        Ok((deployments.get("demo-auth").await?.data["spec"]["replicas"] == 2).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_child_that_lost_its_owner_is_taken_back() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", full()).await?;
    place.ready("demo").await?;
    for ((kind, name), before) in place.children("demo").await? {
        // What is kept when the chat goes has none.
        if before.owner_references().is_empty() {
            continue;
        }
        let api = place.api_of(&kind)?;
        let bare = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
        api.patch(&name, &PatchParams::default(), &bare).await?;
        let what = format!("{kind} {name} has its owner again");
        let now = await_until(&what, PATIENCE, async || {
            let now = api.get(&name).await?;
            Ok((now.owner_references() == before.owner_references()).then_some(now))
        })
        .await?;
        assert_eq!(now.uid(), before.uid(), "{kind} {name}");
    }
    place.ready("demo").await
}

#[tokio::test]
async fn a_field_that_somebody_else_sets_is_taken_back_and_said() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", full()).await?;
    place.ready("demo").await?;
    let deployments = place.api_of("Deployment")?;
    let somebody = PatchParams {
        field_manager: Some("somebody-else".into()),
        ..PatchParams::default()
    };
    let fewer = Patch::Merge(json!({"spec": {"replicas": 1}}));
    deployments.patch("demo-auth", &somebody, &fewer).await?;
    await_until("the replicas are back", PATIENCE, async || {
        Ok((deployments.get("demo-auth").await?.data["spec"]["replicas"] == 2).then_some(()))
    })
    .await?;
    let events = place.api("events.k8s.io", "v1", "Event");
    let event = await_until("it is said", PATIENCE, async || {
        let all = events.list(&kube::api::ListParams::default()).await?;
        let mut all = all.items.into_iter();
        Ok(all.find(|it| it.data["reason"] == "ChangeTakenBack"))
    })
    .await?;
    assert_eq!(event.data["regarding"]["name"], "demo");
    assert_eq!(event.data["related"]["name"], "demo-auth");
    let note = event.data["note"].as_str().unwrap_or_default();
    for word in ["Deployment demo-auth", ".spec.replicas", "somebody-else"] {
        ensure!(note.contains(word), "{word} in {note}");
    }
    Ok(())
}
