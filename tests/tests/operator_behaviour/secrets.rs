//! Secrets of users, and those that the operator makes.

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::harness::Place;
use super::process::PATIENCE;
use super::proxy::Fault;

fn external() -> Value {
    json!({
        "host": "chat.example.com",
        "redis": {"mode": "External", "external": {"secretRef": {"name": "redis"}}},
    })
}

pub const FIRST: [(&str, &str); 3] = [
    ("host", "redis.example.com:6379"),
    ("username", "chat"),
    ("password", "one"),
];
const SECOND: [(&str, &str); 3] = [
    ("host", "redis.example.com:6379"),
    ("username", "chat"),
    ("password", "two"),
];

async fn generations(place: &Place) -> Result<Vec<(String, Option<i64>)>> {
    let children = place.children("demo").await?;
    let deployments = children
        .into_iter()
        .filter(|((kind, _), _)| kind == "Deployment");
    Ok(deployments
        .map(|((_, name), it)| (name, it.metadata.generation))
        .collect())
}

#[tokio::test]
async fn a_changed_password_rolls_the_pods_that_use_it_once() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.secret("redis", &FIRST).await?;
    place.apply("demo", external()).await?;
    place.ready("demo").await?;
    let before = generations(&place).await?;

    // The same content in a new version of the Secret changes nothing.
    let secrets = place.api_of("Secret")?;
    let touched = Patch::Merge(json!({"metadata": {"annotations": {"touched": "yes"}}}));
    secrets
        .patch("redis", &PatchParams::default(), &touched)
        .await?;
    place.secret("redis", &SECOND).await?;
    let rolled = await_until("the pods roll", PATIENCE, async || {
        let now = generations(&place).await?;
        Ok((now != before).then_some(now))
    })
    .await?;
    place.ready("demo").await?;
    let settled = generations(&place).await?;
    for ((name, before), (_, now)) in before.iter().zip(&settled) {
        let grown = now.unwrap_or(0) - before.unwrap_or(0);
        ensure!(grown <= 1, "{name} was rolled {grown} times");
    }
    let users = settled
        .iter()
        .zip(&before)
        .filter(|(now, before)| now.1 != before.1)
        .count();
    ensure!(users >= 1 && users < settled.len(), "{rolled:?}");
    Ok(())
}

#[tokio::test]
async fn a_secret_that_lacks_a_key_is_named_with_the_key_before_anything_is_made() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.secret("redis", &FIRST[..2]).await?;
    place.apply("demo", external()).await?;
    let reason = async |wanted: &str| {
        await_until(wanted, PATIENCE, async || {
            let stalled = place.condition("demo", "Stalled").await?;
            Ok((stalled["status"] == "True").then_some(stalled))
        })
        .await
    };
    let stalled = reason("it is stalled").await?;
    let message = stalled["message"].as_str().unwrap_or_default();
    ensure!(
        message.contains("redis") && message.contains("password"),
        "{message}"
    );
    ensure!(place.children("demo").await?.is_empty());
    place.secret("redis", &FIRST).await?;
    place.ready("demo").await
}

#[tokio::test]
async fn no_value_of_a_secret_is_told() -> Result<()> {
    let place = Place::new().await?;
    let operator = place.operator()?;
    let canary = "canary-7f3a9b";
    place
        .secret(
            "redis",
            &[
                ("host", "not a host!"),
                ("username", "chat"),
                ("password", canary),
            ],
        )
        .await?;
    place.apply("demo", external()).await?;
    await_until("it is judged", PATIENCE, async || {
        Ok(place.condition("demo", "Ready").await.ok())
    })
    .await?;
    place
        .secret(
            "redis",
            &[
                ("host", "redis.example.com:6379"),
                ("username", "chat"),
                ("password", canary),
            ],
        )
        .await?;
    place.ready("demo").await?;
    let told = format!(
        "{:?}{:?}",
        place.chat("demo").await?,
        place.events("demo").await?
    );
    ensure!(!told.contains(canary) && !operator.log()?.contains(canary));
    for ((kind, name), child) in place.children("demo").await? {
        ensure!(
            kind == "Secret" || !format!("{child:?}").contains(canary),
            "{kind} {name}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn generated_passwords_outlive_restarts_and_edits_and_are_made_anew_when_deleted()
-> Result<()> {
    let place = Place::new().await?;
    let mut operator = place.operator()?;
    place
        .apply("demo", json!({"host": "chat.example.com"}))
        .await?;
    place.ready("demo").await?;
    let secrets = place.api_of("Secret")?;
    let data = async || anyhow::Ok(secrets.get("demo-credentials").await?.data["data"].clone());
    let before = data().await?;
    operator.kill().await?;
    let operator = place.operator()?;
    place
        .patch("demo", json!({"spec": {"size": "medium"}}))
        .await?;
    place.ready("demo").await?;
    assert_eq!(data().await?, before);
    secrets
        .delete("demo-credentials", &DeleteParams::default())
        .await?;
    await_until("there are new passwords", PATIENCE, async || {
        Ok((data().await? != before).then_some(()))
    })
    .await
    .with_context(|| operator.log().unwrap_or_default())
}

#[tokio::test]
async fn a_key_changes_in_steps_that_refuse_no_token() -> Result<()> {
    let place = Place::new().await?;
    let operator = place.operator()?;
    place
        .apply("demo", json!({"host": "chat.example.com"}))
        .await?;
    place.ready("demo").await?;
    let secrets = place.api_of("Secret")?;
    let before = secrets.get("demo-jwt").await?;
    let request = json!({"metadata": {"annotations": {"chatcluster.io/rotate": "now"}}});
    place.patch("demo", request).await?;
    // The old key is accepted until the last token that it signed has expired, which is
    // longer than a test may take.
    let after = await_until("the new key signs", PATIENCE, async || {
        let now = secrets.get("demo-jwt").await?;
        let stage = now
            .annotations()
            .get("chatcluster.io/rotation-stage")
            .cloned();
        Ok((stage.as_deref() == Some("retiring")).then_some(now))
    })
    .await
    .with_context(|| operator.log().unwrap_or_default())?;
    let old = &before.data["data"]["JWT_KEY"];
    assert_ne!(after.data["data"]["JWT_KEY"], *old);
    assert_eq!(after.data["data"]["JWT_KEY_PREVIOUS"], *old);
    place.ready("demo").await
}

/// A pass reads a Secret, and before it writes, the Secret is gone.
#[tokio::test]
async fn a_secret_that_is_deleted_while_a_pass_reads_it_does_not_come_back() -> Result<()> {
    let place = Place::new().await?;
    let proxy = place.proxy().await?;
    let operator = place.operator_through(&proxy)?;
    place
        .apply("demo", json!({"host": "chat.example.com"}))
        .await?;
    place.ready("demo").await?;
    super::quiet::falls_silent(&place).await?;
    let secrets = place.api_of("Secret")?;
    let before = secrets.get("demo-jwt").await?;

    proxy.set(Fault::HoldAnswers("/secrets/demo-jwt".into()));
    // Another version, which must be read.
    let touched = Patch::Merge(json!({"metadata": {"annotations": {"touched": "yes"}}}));
    secrets
        .patch("demo-jwt", &PatchParams::default(), &touched)
        .await?;
    await_until("a pass has read it", PATIENCE, async || {
        Ok((proxy.held() > 0).then_some(()))
    })
    .await?;
    let told = proxy.deletions();
    secrets.delete("demo-jwt", &DeleteParams::default()).await?;
    await_until("the operator hears that it is gone", PATIENCE, async || {
        Ok((proxy.deletions() > told).then_some(()))
    })
    .await?;
    proxy.set(Fault::None);
    let after = await_until("there is another one", PATIENCE, async || {
        Ok(secrets.get_opt("demo-jwt").await?)
    })
    .await
    .with_context(|| operator.log().unwrap_or_default())?;
    assert_ne!(
        after.data["data"]["JWT_KEY"],
        before.data["data"]["JWT_KEY"]
    );
    place.ready("demo").await
}
