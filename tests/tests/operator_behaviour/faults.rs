//! Whatever fails on the way, the end is the same.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use chat_kube::control_plane::Options;
use rstest::rstest;
use serde_json::Value;

use super::harness::{Children, Place, small};
use super::process::PATIENCE;
use super::proxy::Fault;

/// What was made, without what differs from one chat to the next.
fn shape(children: &Children, chat: &str) -> BTreeMap<String, Value> {
    children
        .iter()
        // Their names carry a hash of their content, which has the chat's name in it.
        .filter(|((kind, _), _)| kind != "Job")
        .map(|((kind, name), object)| {
            let name = name.replacen(chat, "chat", 1);
            let spec = match kind.as_str() {
                "Secret" => Value::Null,
                "Service" => object.data["spec"]["ports"].clone(),
                _ => object.data["spec"].clone(),
            };
            let text = spec.to_string().replace(chat, "chat");
            (
                format!("{kind} {name}"),
                Value::String(without_hashes(&text)),
            )
        })
        .collect()
}

/// Hashes of content are 16 hexadecimal digits.
fn without_hashes(text: &str) -> String {
    let is_hash = |word: &&str| word.len() == 16 && word.bytes().all(|it| it.is_ascii_hexdigit());
    text.split('"')
        .map(|word| if is_hash(&word) { "hash" } else { word })
        .collect::<Vec<_>>()
        .join("\"")
}

/// Every write of a first pass is a place to die at. They are shared among tests
/// that run side by side.
#[rstest]
#[case(1)]
#[case(2)]
#[case(3)]
#[case(4)]
#[tokio::test]
async fn an_operator_that_dies_after_any_of_its_writes_is_followed_to_the_same_end(
    #[case] first: usize,
) -> Result<()> {
    let place = Place::new().await?;
    let proxy = place.proxy().await?;
    let mut operator = place.operator_through(&proxy)?;
    place.apply("whole", small()).await?;
    place.ready("whole").await?;
    let writes = proxy.writes();
    let expected = shape(&place.children("whole").await?, "whole");
    operator.kill().await?;
    place.delete_chat("whole").await?;

    // From the first write to beyond the last one.
    for last in (first..=writes).step_by(4) {
        let chat = format!("cut{last:03}");
        proxy.set(Fault::SilenceFromWrite(last));
        // The lease of one that was killed would have to run out first.
        let leases = place.api("coordination.k8s.io", "v1", "Lease");
        let _ = leases
            .delete("chat-operator", &kube::api::DeleteParams::default())
            .await;
        let mut operator = place.operator_through(&proxy)?;
        place.apply(&chat, small()).await?;
        tokio::select! {
            () = proxy.silence() => {}
            ready = place.ready(&chat) => ready?,
        }
        operator.kill().await?;

        proxy.set(Fault::None);
        let _ = leases
            .delete("chat-operator", &kube::api::DeleteParams::default())
            .await;
        let mut operator = place.operator_through(&proxy)?;
        place
            .ready(&chat)
            .await
            .with_context(|| format!("after write {last}"))?;
        assert_eq!(
            shape(&place.children(&chat).await?, &chat),
            expected,
            "after write {last}"
        );
        operator.kill().await?;
        place.delete_chat(&chat).await?;
    }
    Ok(())
}

async fn converges_with(fault: Fault) -> Result<()> {
    let place = Place::new().await?;
    let proxy = place.proxy().await?;
    let operator = place.operator_through(&proxy)?;
    operator.says("leads").await?;
    proxy.set(fault);
    place.apply("demo", small()).await?;
    let ready = place.ready("demo").await;
    ready.with_context(|| operator.log().unwrap_or_default())
}

#[tokio::test]
async fn one_call_in_five_may_be_told_to_come_later() -> Result<()> {
    converges_with(Fault::Every(5, 429)).await
}

#[tokio::test]
async fn one_call_in_five_may_end_in_an_error() -> Result<()> {
    converges_with(Fault::Every(5, 500)).await
}

#[tokio::test]
async fn one_answer_in_five_may_be_lost() -> Result<()> {
    converges_with(Fault::LoseEvery(5)).await
}

#[tokio::test]
async fn watches_that_break_or_expire_are_made_again() -> Result<()> {
    let place = Place::new().await?;
    let proxy = place.proxy().await?;
    let _operator = place.operator_through(&proxy)?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    proxy.set(Fault::Watches(410));
    proxy.drop_watches();
    let deployments = place.api_of("Deployment")?;
    deployments
        .delete("demo-auth", &kube::api::DeleteParams::default())
        .await?;
    let back = async |what: &str| {
        await_until(what, PATIENCE, async || {
            Ok(deployments.get_opt("demo-auth").await?)
        })
        .await
    };
    // Every list tells what no watch can.
    back("it is found by a list").await?;
    proxy.set(Fault::None);
    deployments
        .delete("demo-auth", &kube::api::DeleteParams::default())
        .await?;
    back("it is found by a watch").await?;
    place.ready("demo").await
}

#[tokio::test]
async fn an_api_server_that_was_away_is_found_again() -> Result<()> {
    let plane = chat_kube::testing::own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    let operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    plane.api_server.stop().await?;
    plane.api_server.start().await?;
    // It may have lost its lease, and then ends as Kubernetes expects, which starts it again.
    let log = operator.log()?;
    drop(operator);
    let _operator = place.operator()?;
    let deployments = place.api_of("Deployment")?;
    deployments
        .delete("demo-auth", &kube::api::DeleteParams::default())
        .await?;
    await_until("it is back", PATIENCE, async || {
        Ok(deployments.get_opt("demo-auth").await?)
    })
    .await?;
    ensure!(!log.contains("panicked"), "{log}");
    Ok(())
}
