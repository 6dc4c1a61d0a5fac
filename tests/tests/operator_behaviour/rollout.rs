//! From one image to another.

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::harness::{Place, small};
use super::process::PATIENCE;
use super::quiet::settled_events;

fn auth(fields: Value) -> Value {
    json!({"spec": {"services": {"auth": fields}}})
}

async fn image_of(place: &Place, deployment: &str) -> Result<Value> {
    let deployment = place.api_of("Deployment")?.get(deployment).await?;
    Ok(deployment.data["spec"]["template"]["spec"]["containers"][0]["image"].clone())
}

/// The Jobs of auth, by the image that they migrate to.
async fn migrations(place: &Place) -> Result<Vec<(String, Option<String>)>> {
    let jobs = place.children("demo").await?;
    let of_auth = jobs
        .into_iter()
        .filter(|((kind, name), _)| kind == "Job" && name.starts_with("demo-auth-"));
    Ok(of_auth
        .map(|(_, job)| {
            let image = &job.data["spec"]["template"]["spec"]["containers"][0]["image"];
            (image.as_str().unwrap_or_default().to_owned(), job.uid())
        })
        .collect())
}

#[tokio::test]
async fn a_migration_that_fails_leaves_the_old_pods_and_another_image_heals_it() -> Result<()> {
    const BAD: &str = "chatcluster/auth:bad";
    const GOOD: &str = "chatcluster/auth:good";
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let deployments = place.api_of("Deployment")?;
    let before = deployments.get("demo-auth").await?;

    place.kubelet.breaks(BAD);
    place.patch("demo", auth(json!({"image": BAD}))).await?;
    let stalled = place
        .becomes("demo", "Stalled", "True", "MigrationFailed")
        .await?;
    let message = stalled["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("migration of auth") && message.contains(BAD),
        "{message}"
    );
    let now = deployments.get("demo-auth").await?;
    assert_eq!(now.metadata.generation, before.metadata.generation);
    assert_eq!(now.data["status"]["readyReplicas"], 1);
    let events = settled_events(&place, "demo", "Warning MigrationFailed").await?;
    let told = events.iter().filter(|it| it.ends_with("MigrationFailed"));
    assert_eq!(told.count(), 1, "{events:?}");

    place.patch("demo", auth(json!({"image": GOOD}))).await?;
    place.ready("demo").await?;
    place
        .becomes("demo", "Stalled", "False", "Progressing")
        .await?;
    assert_eq!(image_of(&place, "demo-auth").await?, GOOD);
    await_until("the Job that failed is gone", PATIENCE, async || {
        let images = migrations(&place).await?;
        Ok((images.len() == 1 && images[0].0 == GOOD).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_migration_that_failed_is_tried_again_when_its_job_is_deleted() -> Result<()> {
    const IMAGE: &str = "chatcluster/auth:later";
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    place.kubelet.breaks(IMAGE);
    place.patch("demo", auth(json!({"image": IMAGE}))).await?;
    place
        .becomes("demo", "Stalled", "True", "MigrationFailed")
        .await?;

    place.kubelet.mends(IMAGE);
    let jobs = place.children("demo").await?;
    let mut failed = jobs
        .values()
        .filter(|it| it.data["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE);
    let failed = failed.next().context("no Job")?.name_any();
    let jobs = place.api_of("Job")?;
    jobs.delete(&failed, &DeleteParams::background()).await?;
    place.ready("demo").await?;
    assert_eq!(image_of(&place, "demo-auth").await?, IMAGE);
    Ok(())
}

#[tokio::test]
async fn each_component_tells_its_pods_and_its_image_during_a_rollout() -> Result<()> {
    const SLOW: &str = "chatcluster/socket-handler:slow";
    let place = Place::new().await?;
    let _operator = place.operator()?;
    let sockets = |fields: Value| json!({"spec": {"services": {"socketHandler": fields}}});
    place
        .apply(
            "demo",
            json!({"host": "chat.example.com", "services": {"socketHandler": {"replicas": 2}}}),
        )
        .await?;
    place.ready("demo").await?;
    let component = async || -> Result<Value> {
        let chat = place.chat("demo").await?;
        let all = chat.data["status"]["components"].as_array().cloned();
        let mut all = all.unwrap_or_default().into_iter();
        all.find(|it| it["name"] == "socket-handler")
            .context("no such component")
    };
    let becomes = async |wanted: Value| {
        let what = format!("the component is {wanted}");
        await_until(&what, PATIENCE, async || {
            let now = component().await?;
            ensure!(now == wanted, "{now}");
            Ok(Some(()))
        })
        .await
    };
    let settled = component().await?;
    let image = settled["image"].as_str().context("no image")?.to_owned();
    let told = |ready: i32, updated: i32, image: &str| json!({"name": "socket-handler", "desired": 2, "ready": ready, "updated": updated, "image": image});
    assert_eq!(settled, told(2, 2, &image));

    // As many pods more as are desired, which do not get ready: the old ones stay.
    place.kubelet.breaks(SLOW);
    place.patch("demo", sockets(json!({"image": SLOW}))).await?;
    let words =
        "socket-handler: 2 of 2 pods answer, 2 are of the newest revision and 2 of an older one";
    await_until("the old pods are counted", PATIENCE, async || {
        let condition = place.condition("demo", "ServicesAvailable").await?;
        let said = condition["message"].as_str().unwrap_or_default();
        let because = condition["reason"] == "SocketHandlerNotReady";
        ensure!(because && said.contains(words), "{condition}");
        Ok(Some(()))
    })
    .await?;
    assert_eq!(component().await?, told(2, 2, SLOW));

    place
        .patch("demo", sockets(json!({"image": image})))
        .await?;
    place.ready("demo").await?;
    becomes(told(2, 2, &image)).await
}

#[tokio::test]
async fn a_version_whose_pods_do_not_start_comes_no_further_than_its_first_service() -> Result<()> {
    const SLOW: &str = "chatcluster/socket-handler:slow";
    const NEXT: &str = "chatcluster/web:next";
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let before = image_of(&place, "demo-web").await?;

    place.kubelet.breaks(SLOW);
    let images = |sockets: &str| json!({"spec": {"services": {"socketHandler": {"image": sockets}, "web": {"image": NEXT}}}});
    place.patch("demo", images(SLOW)).await?;
    await_until("web waits", PATIENCE, async || {
        let condition = place.condition("demo", "ServicesAvailable").await?;
        let said = condition["message"].as_str().unwrap_or_default();
        let waits = said.contains("web: is replaced when those before it are");
        let why = said.contains("and 1 of an older one");
        ensure!(waits && why, "{condition}");
        Ok(Some(()))
    })
    .await?;
    assert_eq!(image_of(&place, "demo-web").await?, before);

    place.patch("demo", images("")).await?;
    place.ready("demo").await?;
    assert_eq!(image_of(&place, "demo-web").await?, NEXT);
    Ok(())
}
