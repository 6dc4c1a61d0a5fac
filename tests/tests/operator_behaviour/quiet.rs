//! Nothing is said twice, and nothing at all when there is nothing to say.

use std::time::Duration;

use anyhow::{Result, ensure};
use chat_e2e::await_until;
use chat_kube::audit::{Call, count};
use serde_json::json;

use super::harness::{Place, small};
use super::process::PATIENCE;

/// The events of a ChatCluster, once this one is among them.
pub async fn settled_events(place: &Place, chat: &str, last: &str) -> Result<Vec<String>> {
    await_until(last, PATIENCE, async || {
        let events = place.events(chat).await?;
        Ok(events.iter().any(|it| it == last).then_some(events))
    })
    .await
}

/// The operator's calls since a mark, those for its Lease not among them.
pub fn calls(place: &Place, mark: chat_kube::audit::Mark) -> Result<Vec<Call>> {
    let user = place.user();
    let calls = place.access.audit().calls_since(mark)?;
    let of_it = calls
        .into_iter()
        .filter(|call| call.user == user && call.resource != "leases");
    Ok(of_it.collect())
}

/// Passes when the operator called nobody for a while after it was ready.
pub async fn falls_silent(place: &Place) -> Result<()> {
    let audit = place.access.audit();
    await_until("five seconds without a call", PATIENCE, async || {
        let mark = audit.mark()?;
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(calls(place, mark)?.is_empty().then_some(()))
    })
    .await
}

#[tokio::test]
async fn an_operator_with_nothing_to_do_calls_nobody() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    falls_silent(&place).await?;
    let mark = place.access.audit().mark()?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let calls = calls(&place, mark)?;
    // A watch ends from time to time, and begins again.
    let others: Vec<_> = calls
        .iter()
        .filter(|call| call.verb != "watch" && call.resource != "/apis")
        .collect();
    ensure!(others.is_empty(), "{others:?}");
    Ok(())
}

#[tokio::test]
async fn an_operator_that_starts_again_writes_nothing() -> Result<()> {
    let place = Place::new().await?;
    let mut operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    falls_silent(&place).await?;
    operator.kill().await?;
    let mark = place.access.audit().mark()?;
    let operator = place.operator()?;
    operator.says("leads").await?;
    falls_silent(&place).await?;
    let writes: Vec<_> = calls(&place, mark)?
        .into_iter()
        .filter(Call::is_write)
        .collect();
    ensure!(writes.is_empty(), "{writes:?}");
    Ok(())
}

#[tokio::test]
async fn a_chat_costs_one_write_for_each_object_and_a_few_more() -> Result<()> {
    let place = Place::new().await?;
    let operator = place.operator()?;
    operator.says("leads").await?;
    let mark = place.access.audit().mark()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    falls_silent(&place).await?;
    let children = place.children("demo").await?.len();
    let calls = calls(&place, mark)?;
    let read: Vec<_> = calls
        .iter()
        .filter(|call| call.verb == "get" && call.code == 200)
        .collect();
    ensure!(read.is_empty(), "what it has just written: {read:?}");
    let writes = calls.iter().filter(|call| call.is_write());
    let of_children = writes
        .clone()
        .filter(|call| !call.resource.contains("status") && call.resource != "events");
    assert_eq!(of_children.count(), children, "{:#?}", count(&calls));
    let all = writes.count();
    ensure!(
        all <= children + 12,
        "{all} writes for {children} objects: {:#?}",
        count(&calls)
    );
    Ok(())
}

#[tokio::test]
async fn the_rights_that_the_operator_prints_are_all_that_it_needs() -> Result<()> {
    let place = Place::new().await?;
    let mark = place.access.audit().mark()?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let off = json!({"spec": {"security": {"networkPolicy": false}, "stopped": true}});
    place.patch("demo", off).await?;
    place.becomes("demo", "Ready", "False", "Stopped").await?;
    falls_silent(&place).await?;
    let calls = calls(&place, mark)?;
    ensure!(
        calls.len() > 50,
        "the audit log knows the operator by another name"
    );
    let refused: Vec<_> = calls.iter().filter(|call| call.code == 403).collect();
    ensure!(refused.is_empty(), "{refused:?}");
    Ok(())
}
