//! What the operator did not make, it does not touch; what it made and nobody wants
//! any more, it removes.

use anyhow::{Result, ensure};
use chat_e2e::await_until;
use kube::ResourceExt;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use serde_json::json;

use super::harness::{Children, Place, small};
use super::process::PATIENCE;
use super::quiet::calls;

#[tokio::test]
async fn an_object_of_somebody_else_is_left_alone_and_named() -> Result<()> {
    let place = Place::new().await?;
    let services = place.api_of("Service")?;
    let theirs: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": "demo-auth"},
        "spec": {"ports": [{"port": 1234}]},
    }))?;
    let theirs = services.create(&PostParams::default(), &theirs).await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    let stalled = place.becomes("demo", "Stalled", "True", "Conflict").await?;
    ensure!(
        stalled["message"]
            .as_str()
            .is_some_and(|it| it.contains("Service demo-auth")),
        "{stalled}"
    );
    let now = services.get("demo-auth").await?;
    assert_eq!(now.resource_version(), theirs.resource_version());

    services
        .delete("demo-auth", &DeleteParams::default())
        .await?;
    // Nothing that the operator watches has changed: an edit makes it look again.
    place
        .patch(
            "demo",
            json!({"metadata": {"annotations": {"look": "again"}}}),
        )
        .await?;
    place.ready("demo").await
}

/// Passwords that are kept nowhere differ in every pass, and whoever works with them
/// would restart for each.
#[tokio::test]
async fn nothing_is_made_of_passwords_that_cannot_be_kept() -> Result<()> {
    let place = Place::new().await?;
    let theirs = [("demo", "demo-credentials"), ("other", "other-jwt")];
    for (_, secret) in theirs {
        place.secret(secret, &[("theirs", "stays")]).await?;
    }
    let mark = place.access.audit().mark()?;
    let _operator = place.operator()?;
    for (chat, secret) in theirs {
        place.apply(chat, small()).await?;
        let stalled = place.becomes(chat, "Stalled", "True", "Conflict").await?;
        let message = stalled["message"].as_str().unwrap_or_default();
        ensure!(message.contains(&format!("Secret {secret}")), "{message}");
    }
    await_until("each is tried three times", PATIENCE, async || {
        let calls = calls(&place, mark)?;
        let tries = |name: &str| {
            let of_it = calls.iter().filter(|call| call.verb == "patch");
            of_it.filter(|call| call.name == name).count()
        };
        let all = theirs.iter().all(|(_, secret)| tries(secret) >= 3);
        Ok(all.then_some(()))
    })
    .await?;
    // The other of the two is kept, and so it was written once.
    for (chat, kept) in [("demo", "demo-jwt"), ("other", "other-credentials")] {
        let made = place.children(chat).await?;
        let made: Vec<_> = made.keys().map(|(_, name)| name.as_str()).collect();
        assert_eq!(made, [kept]);
        let calls = calls(&place, mark)?.into_iter();
        let writes = calls.filter(|call| call.is_write() && call.name == kept);
        assert_eq!(writes.count(), 1, "{kept}");
    }

    for (chat, secret) in theirs {
        let secrets = place.api_of("Secret")?;
        secrets.delete(secret, &DeleteParams::default()).await?;
        place.ready(chat).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_feature_that_is_turned_off_takes_exactly_its_objects_with_it() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place
        .apply(
            "demo",
            json!({"host": "chat.example.com", "exposure": {"type": "Ingress"}}),
        )
        .await?;
    place.ready("demo").await?;
    let theirs: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": "demo-theirs", "labels": {
            "app.kubernetes.io/instance": "demo", "app.kubernetes.io/managed-by": "chat-operator",
        }},
        "spec": {"podSelector": {"matchLabels": {"none": "such"}}},
    }))?;
    let policies = place.api_of("NetworkPolicy")?;
    policies.create(&PostParams::default(), &theirs).await?;
    let before = place.children("demo").await?;

    let off = json!({"spec": {"security": {"networkPolicy": false}, "exposure": {"type": "None"}}});
    place.patch("demo", off).await?;
    let expected: Vec<_> = before
        .keys()
        .filter(|(kind, name)| {
            kind != "Ingress" && (kind != "NetworkPolicy" || name == "demo-theirs")
        })
        .cloned()
        .collect();
    await_until(
        "the policies and the Ingress are gone",
        PATIENCE,
        async || {
            let now: Vec<_> = place.children("demo").await?.into_keys().collect();
            Ok((now == expected).then_some(()))
        },
    )
    .await
}

#[tokio::test]
async fn a_chat_that_is_made_anew_takes_over_what_was_kept_for_it() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let secrets = |children: &Children| -> Vec<_> {
        let secret = children.get(&("Secret".to_owned(), "demo-credentials".to_owned()));
        secret
            .map(|it| (it.uid(), it.data["data"].clone()))
            .into_iter()
            .collect()
    };
    let before = secrets(&place.children("demo").await?);
    place.delete_chat("demo").await?;
    await_until("the rest is gone", PATIENCE, async || {
        let left = place.children("demo").await?;
        Ok((!left.keys().any(|(kind, _)| kind == "Deployment")).then_some(()))
    })
    .await?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let after = secrets(&place.children("demo").await?);
    ensure!(
        before.len() == 1 && before == after,
        "the passwords of a database that is kept have changed"
    );
    Ok(())
}
