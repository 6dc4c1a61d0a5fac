//! Stores that other operators keep. Neither CloudNativePG nor the RabbitMQ cluster
//! operator runs here: the tests write what they would into statuses and Secrets.

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use chat_kube::control_plane::Options;
use chat_kube::testing::own_control_plane;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::harness::Place;
use super::others::{self, cluster, rabbitmq_cluster, say};
use super::process::{Operator, PATIENCE};

/// Waits for the stores not to be ready for a reason, and to say so in these words.
async fn wants(place: &Place, reason: &str, words: &str) -> Result<()> {
    let what = format!("{reason}: {words}");
    await_until(&what, PATIENCE, async || {
        let condition = place.condition("demo", "BackingStoresReady").await?;
        let said = condition["message"].as_str().unwrap_or_default();
        let holds = condition["status"] == "False" && condition["reason"] == reason;
        ensure!(holds && said.contains(words), "{condition}");
        Ok(Some(()))
    })
    .await
}

/// What the operators make beside their objects.
async fn their_secrets(place: &Place) -> Result<()> {
    let login = [
        ("username", "app"),
        ("password", "theirs"),
        ("host", "demo-postgres-rw"),
        ("port", "5432"),
        ("dbname", "app"),
    ];
    place.secret("demo-postgres-app", &login).await?;
    let login = [
        ("username", "default_user"),
        ("password", "theirs"),
        ("host", "demo-rabbitmq"),
        ("port", "5672"),
    ];
    place.secret("demo-rabbitmq-default-user", &login).await
}

#[tokio::test]
async fn a_chat_is_as_ready_as_the_stores_that_other_operators_keep() -> Result<()> {
    let plane = own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    others::define(&place, &["Cluster", "Database", "RabbitmqCluster"]).await?;
    let operator = place.cluster_operator().await?;
    place.apply("demo", spec()).await?;
    wants(&place, "PostgresNotReady", "Cluster has not said Ready yet")
        .await
        .with_context(|| operator.log().unwrap_or_default())?;
    their_secrets(&place).await?;

    let not_yet = cluster("False", "ClusterIsNotReady", "Cluster Is Not Ready");
    say(&place, "Cluster", "demo-postgres", not_yet.clone()).await?;
    wants(&place, "PostgresNotReady", "Cluster Is Not Ready").await?;

    let up = cluster("True", "ClusterIsReady", "Cluster is Ready");
    say(&place, "Cluster", "demo-postgres", up.clone()).await?;
    wants(&place, "PostgresNotReady", "Database demo-postgres-").await?;
    let databases = ["auth", "messages", "notifications", "users"];
    for service in databases {
        let name = format!("demo-postgres-{service}");
        say(&place, "Database", &name, json!({"applied": true})).await?;
    }
    let refused = json!({"applied": false, "message": "role \"demo_users\" does not exist"});
    say(&place, "Database", "demo-postgres-users", refused).await?;
    let words = "Database demo-postgres-users: role \"demo_users\" does not exist";
    wants(&place, "PostgresNotReady", words).await?;
    let made = json!({"applied": true, "message": null});
    say(&place, "Database", "demo-postgres-users", made).await?;
    wants(
        &place,
        "RabbitmqNotReady",
        "RabbitmqCluster has not said AllReplicasReady yet",
    )
    .await?;

    let all = rabbitmq_cluster("True", "AllPodsAreReady", "");
    say(&place, "RabbitmqCluster", "demo-rabbitmq", all.clone()).await?;
    place.ready("demo").await?;

    let fallen = rabbitmq_cluster("False", "NotAllPodsReady", "0/1 Pods ready");
    say(&place, "RabbitmqCluster", "demo-rabbitmq", fallen).await?;
    wants(&place, "RabbitmqNotReady", "0/1 Pods ready").await?;
    place
        .becomes("demo", "Ready", "False", "RabbitmqNotReady")
        .await?;
    say(&place, "RabbitmqCluster", "demo-rabbitmq", all).await?;
    place.ready("demo").await?;

    say(&place, "Cluster", "demo-postgres", not_yet).await?;
    place
        .becomes("demo", "Ready", "False", "PostgresNotReady")
        .await?;
    say(&place, "Cluster", "demo-postgres", up).await?;
    place.ready("demo").await
}

/// A chat whose stores other operators keep, all of them well.
async fn with_others(place: &Place) -> Result<Operator> {
    others::define(place, &["Cluster", "Database", "RabbitmqCluster"]).await?;
    let operator = place.cluster_operator().await?;
    place.apply("demo", spec()).await?;
    are_ready(place).await?;
    Ok(operator)
}

fn spec() -> Value {
    json!({
        "host": "chat.example.com",
        "postgres": {"mode": "Delegated"},
        "rabbitmq": {"mode": "Delegated"},
    })
}

async fn are_ready(place: &Place) -> Result<()> {
    await_until("it is ready", PATIENCE, async || {
        others::are_well(place, "demo").await?;
        let ready = place.condition("demo", "Ready").await?;
        Ok((ready["status"] == "True").then_some(()))
    })
    .await
}

#[tokio::test]
async fn what_other_operators_were_given_is_repaired_like_all_the_rest() -> Result<()> {
    let plane = own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    let _operator = with_others(&place).await?;
    let clusters = place.api_of("Cluster")?;
    let before = clusters.get("demo-postgres").await?.data["spec"].clone();
    let wrong = Patch::Merge(json!({"spec": {"instances": 7}}));
    clusters
        .patch("demo-postgres", &PatchParams::default(), &wrong)
        .await?;
    await_until("the instances are as before", PATIENCE, async || {
        let cluster = clusters.get("demo-postgres").await?;
        Ok((cluster.data["spec"] == before).then_some(()))
    })
    .await?;
    for (kind, name) in [
        ("Cluster", "demo-postgres"),
        ("Database", "demo-postgres-auth"),
        ("RabbitmqCluster", "demo-rabbitmq"),
    ] {
        let api = place.api_of(kind)?;
        let before = api.get(name).await?.uid();
        api.delete(name, &DeleteParams::default()).await?;
        await_until("it is made anew", PATIENCE, async || {
            let now = api.get_opt(name).await?;
            Ok(now.filter(|it| it.uid() != before))
        })
        .await?;
    }
    are_ready(&place).await
}

#[tokio::test]
async fn what_other_operators_are_given_fits_what_services_use() -> Result<()> {
    let plane = own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    their_secrets(&place).await?;
    let secrets = place.api_of("Secret")?;
    let theirs = ["demo-postgres-app", "demo-rabbitmq-default-user"];
    let mut before = Vec::new();
    for name in theirs {
        before.push(secrets.get(name).await?.resource_version());
    }
    let _operator = with_others(&place).await?;

    // The Service that CloudNativePG makes of a Cluster, and that of a RabbitmqCluster.
    let settings = place.api_of("ConfigMap")?.get("demo-auth").await?;
    assert_eq!(settings.data["data"]["DB_HOST"], "demo-postgres-rw");
    assert_eq!(settings.data["data"]["RMQ_HOST"], "demo-rabbitmq");
    let cluster = place.api_of("Cluster")?.get("demo-postgres").await?;
    let roles = cluster.data["spec"]["managed"]["roles"].as_array().cloned();
    let roles = roles.context("no roles")?;
    for service in ["auth", "messages", "notifications", "users"] {
        let name = format!("demo-postgres-{service}");
        let database = place.api_of("Database")?.get(&name).await?;
        let owner = &database.data["spec"]["owner"];
        let role = roles.iter().find(|role| role["name"] == *owner);
        let role = role.with_context(|| format!("nobody may own {name}"))?;
        // Without this label CloudNativePG would not hear of another password.
        let secret = role["passwordSecret"]["name"].as_str().context("no name")?;
        let secret = secrets.get(secret).await?;
        assert_eq!(secret.labels()["cnpg.io/reload"], "true");
    }
    let definitions = secrets.get("demo-rabbitmq").await?;
    ensure!(!definitions.data["data"]["definitions.json"].is_null());

    // What they made for themselves is none of ours.
    for (name, before) in theirs.into_iter().zip(before) {
        assert_eq!(secrets.get(name).await?.resource_version(), before);
    }
    Ok(())
}
