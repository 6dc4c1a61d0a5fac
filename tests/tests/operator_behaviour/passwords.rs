//! New passwords in managed stores: which stage comes after which, and what it waits
//! for. That stores learn them while they run is tested with the servers themselves.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use jiff::{Timestamp, ToSpan};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::json;

use super::harness::{Place, small};
use super::metrics::sum;
use super::process::PATIENCE;
use super::quiet::falls_silent;

const STAGE: &str = "chatcluster.io/passwords-stage";
const HEARD: &str = "chatcluster.io/passwords-heard";
const UNTIL: &str = "chatcluster.io/passwords-until";

async fn ask(place: &Place, value: &str) -> Result<()> {
    let request = json!({"metadata": {"annotations": {"chatcluster.io/rotate-passwords": value}}});
    place.patch("demo", request).await
}

async fn credentials(place: &Place) -> Result<DynamicObject> {
    Ok(place.api_of("Secret")?.get("demo-credentials").await?)
}

/// `None` when no change is under way.
async fn stage(place: &Place) -> Result<Option<String>> {
    Ok(credentials(place).await?.annotations().get(STAGE).cloned())
}

async fn becomes(place: &Place, wanted: Option<&str>) -> Result<()> {
    let mut last = None;
    let came = await_until("the stage", PATIENCE, async || {
        last = stage(place).await?;
        Ok((last.as_deref() == wanted).then_some(()))
    });
    came.await
        .with_context(|| format!("wanted: {wanted:?}, last: {last:?}"))
}

/// The stage is still this one when the operator has looked at another change and has
/// done that.
async fn stays(place: &Place, wanted: &str, replicas: i32) -> Result<()> {
    let change = json!({"services": {"web": {"replicas": replicas}}});
    place.patch("demo", json!({"spec": change})).await?;
    await_until("the change is done", PATIENCE, async || {
        let web = place.api_of("Deployment")?.get("demo-web").await?;
        Ok((web.data["spec"]["replicas"] == replicas).then_some(()))
    })
    .await?;
    let now = stage(place).await?;
    ensure!(now.as_deref() == Some(wanted), "{now:?}, not {wanted}");
    Ok(())
}

/// The keys of what users mounts.
async fn held(place: &Place) -> Result<Vec<String>> {
    let secret = place.api_of("Secret")?.get("demo-users").await?;
    let data = secret.data["data"].as_object().context("no data")?.clone();
    Ok(data.into_iter().map(|(key, _)| key).collect())
}

/// The login that a new pod of this Deployment works with.
async fn used(place: &Place, deployment: &str) -> Result<String> {
    let object = place.api_of("Deployment")?.get(deployment).await?;
    let text = object.data.to_string();
    let keys = ["password-1", "password-2"];
    let mut named = keys.into_iter().filter(|key| text.contains(key));
    let key = named.next().context("no password")?;
    ensure!(named.next().is_none(), "two passwords");
    Ok(key.to_owned())
}

async fn stores(place: &Place) -> Result<BTreeMap<String, Option<i64>>> {
    let all = place.children("demo").await?.into_iter();
    let sets = all.filter(|((kind, _), _)| kind == "StatefulSet");
    Ok(sets
        .map(|((_, name), it)| (name, it.metadata.generation))
        .collect())
}

/// The Job that tries the logins of Redis.
async fn trial(place: &Place) -> Result<Option<DynamicObject>> {
    let jobs = place.api_of("Job")?.list(&ListParams::default()).await?;
    let mut of_redis = jobs.into_iter();
    Ok(of_redis.find(|it| it.name_any().starts_with("demo-redis-logins-")))
}

/// The trial of Redis fails and is named, and nothing goes on until there is another one.
async fn a_failed_trial_holds(place: &Place, wanted: &str, replicas: i32) -> Result<()> {
    await_until("the trial fails", PATIENCE, async || {
        let job = trial(place).await?.context("no trial")?;
        let conditions = job.data["status"]["conditions"].as_array().cloned();
        let failed = conditions.is_some_and(|all| all.iter().any(|it| it["type"] == "Failed"));
        Ok(failed.then_some(()))
    })
    .await?;
    let name = trial(place).await?.context("no trial")?.name_any();
    let reason = "LoginsNotAccepted";
    let stalled = place.becomes("demo", "Stalled", "True", reason).await?;
    let message = stalled["message"].as_str().unwrap_or_default();
    ensure!(message.contains(&name), "{message}, not {name}");
    stays(place, wanted, replicas).await
}

async fn try_again(place: &Place) -> Result<()> {
    let name = trial(place).await?.context("no trial")?.name_any();
    let jobs = place.api_of("Job")?;
    jobs.delete(&name, &DeleteParams::background()).await?;
    Ok(())
}

/// Sets the clock of a change to the time when the old passwords may go.
async fn let_time_pass(place: &Place) -> Result<()> {
    becomes(place, Some("retiring")).await?;
    let until: Timestamp = credentials(place).await?.annotations()[UNTIL].parse()?;
    ensure!(
        until > Timestamp::now() + 30.seconds(),
        "{until} is too soon"
    );
    let past = json!({"metadata": {"annotations": {UNTIL: "2026-01-01T00:00:00Z"}}});
    let secrets = place.api_of("Secret")?;
    let (name, patch) = ("demo-credentials", Patch::Merge(past));
    secrets.patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

#[tokio::test]
async fn passwords_change_in_steps_that_each_wait_for_what_they_must_see() -> Result<()> {
    let place = Place::new().await?;
    let first = place.operator()?;
    let spec = json!({"host": "chat.example.com"});
    place.apply("demo", spec).await?;
    place.ready("demo").await?;
    let before = stores(&place).await?;
    ensure!(held(&place).await? == ["password-1", "user-1"]);
    let sockets = place
        .api_of("Deployment")?
        .get("demo-socket-handler")
        .await?;
    let image = sockets.data["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .context("no image")?;
    let set = place.api_of("StatefulSet")?.get("demo-redis").await?;
    let redis = set.data["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .context("no image")?;

    // Each time, another operator goes on where the one before was killed.
    place.kubelet.breaks(redis);
    ask(&place, "one").await?;
    becomes(&place, Some("announced")).await?;
    let reason = "ChangingPasswords";
    place.becomes("demo", "Reconciling", "True", reason).await?;
    drop(first);
    let second = place.operator()?;
    a_failed_trial_holds(&place, "announced", 2).await?;
    ensure!(held(&place).await? == ["password-1", "password-2", "user-1", "user-2"]);
    ensure!(used(&place, "demo-socket-handler").await? == "password-1");

    place.kubelet.breaks(image);
    place.kubelet.mends(redis);
    try_again(&place).await?;
    becomes(&place, Some("swapped")).await?;
    drop(second);
    let third = place.operator()?;
    await_until("the new login is used", PATIENCE, async || {
        let used = used(&place, "demo-socket-handler").await?;
        Ok((used == "password-2").then_some(()))
    })
    .await?;
    stays(&place, "swapped", 3).await?;
    ensure!(held(&place).await?.len() == 4);

    place.kubelet.mends(image);
    let pods: Api<Pod> = Api::namespaced(place.client.clone(), place.name());
    let of_sockets = ListParams::default().labels("app.kubernetes.io/component=socket-handler");
    pods.delete_collection(&DeleteParams::default(), &of_sockets)
        .await?;
    place.kubelet.breaks(redis);
    let_time_pass(&place).await?;
    becomes(&place, Some("withdrawn")).await?;
    drop(third);
    let _fourth = place.operator()?;
    a_failed_trial_holds(&place, "withdrawn", 1).await?;
    ensure!(held(&place).await? == ["password-2", "user-2"]);

    place.kubelet.mends(redis);
    try_again(&place).await?;
    becomes(&place, None).await?;
    place.ready("demo").await?;
    await_until("the trials are gone", PATIENCE, async || {
        Ok(trial(&place).await?.is_none().then_some(()))
    })
    .await?;

    // A second change, which nothing holds up, leads back to the first login.
    let old = credentials(&place).await?.data["data"].clone();
    ask(&place, "two").await?;
    let_time_pass(&place).await?;
    becomes(&place, None).await?;
    ensure!(held(&place).await? == ["password-1", "user-1"]);
    let new = credentials(&place).await?.data["data"].clone();
    ensure!(new["users-1"] != old["users"] && new["users-1"] != old["users-2"]);
    place.ready("demo").await?;
    // No store was restarted for any of it.
    ensure!(stores(&place).await? == before);
    Ok(())
}

#[tokio::test]
async fn no_password_changes_while_a_chat_is_stopped() -> Result<()> {
    let place = Place::new().await?;
    let operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let stop = async |stopped: bool| {
        let change = json!({"spec": {"stopped": stopped}});
        place.patch("demo", change).await
    };
    // The stage when the operator has looked once more, at another change.
    let stage_while_stopped = async |replicas: i32| {
        let change = json!({"services": {"web": {"replicas": replicas}}});
        place.patch("demo", json!({"spec": change})).await?;
        place.becomes("demo", "Ready", "False", "Stopped").await?;
        stage(&place).await
    };
    stop(true).await?;
    ask(&place, "one").await?;
    let now = stage_while_stopped(2).await?;
    ensure!(now.is_none(), "{now:?}");

    stop(false).await?;
    becomes(&place, Some("retiring")).await?;
    stop(true).await?;
    place.becomes("demo", "Ready", "False", "Stopped").await?;
    let_time_pass(&place).await?;
    let now = stage_while_stopped(1).await?;
    ensure!(now.as_deref() == Some("retiring"), "{now:?}");
    // Nor does the operator look again and again whether it may go on.
    let passes = async || {
        let text = operator.get("/metrics").await?;
        anyhow::Ok(sum(&text, "chat_operator_pass_seconds_count", &[]))
    };
    let before = passes().await?;
    falls_silent(&place).await?;
    let made = passes().await? - before;
    ensure!(made < 50.0, "{made} passes");

    stop(false).await?;
    becomes(&place, None).await?;
    place.ready("demo").await?;
    ensure!(held(&place).await? == ["password-2", "user-2"]);
    Ok(())
}

#[tokio::test]
async fn a_deleted_secret_of_passwords_locks_nobody_out_and_changes_them() -> Result<()> {
    let place = Place::new().await?;
    let operator = place.operator()?;
    let three = json!({"managed": {"replicas": 3}});
    let spec = json!({"host": "chat.example.com", "rabbitmq": three});
    place.apply("demo", spec).await?;
    place.ready("demo").await?;
    // Its answer is over, and the request still stands on the chat.
    ask(&place, "long ago").await?;
    let_time_pass(&place).await?;
    becomes(&place, None).await?;
    place.ready("demo").await?;
    let secrets = place.api_of("Secret")?;
    let before = credentials(&place).await?.data["data"].clone();
    let sets = stores(&place).await?;
    secrets
        .delete("demo-credentials", &DeleteParams::default())
        .await?;
    await_until("there is another one", PATIENCE, async || {
        Ok(secrets.get_opt("demo-credentials").await?)
    })
    .await
    .with_context(|| operator.log().unwrap_or_default())?;
    let_time_pass(&place).await?;
    becomes(&place, None).await?;
    place.ready("demo").await?;
    let after = credentials(&place).await?.data["data"].clone();
    for fixed in ["erlang-cookie", "postgres", "redis"] {
        ensure!(after[fixed] == before[fixed], "{fixed} has changed");
    }
    ensure!(held(&place).await? == ["password-1", "user-1"]);
    // Or a second change would follow.
    let now = credentials(&place).await?;
    ensure!(now.annotations().get(HEARD).map(String::as_str) == Some("long ago"));
    // With another cookie, a node that restarts could not join the other two.
    ensure!(stores(&place).await? == sets);
    Ok(())
}
