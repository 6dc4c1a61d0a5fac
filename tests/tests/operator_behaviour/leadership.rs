//! Of several operators one works, and never two.

use anyhow::{Result, ensure};
use chat_e2e::await_until;
use kube::api::PostParams;
use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::{Value, json};

use super::harness::{Place, small};
use super::process::{Operator, PATIENCE};
use super::proxy::Fault;
use super::quiet::falls_silent;

async fn lease(place: &Place) -> Result<Value> {
    let leases = place.api("coordination.k8s.io", "v1", "Lease");
    Ok(leases.get("chat-operator").await?.data["spec"].clone())
}

async fn leads(operator: &Operator) -> Result<bool> {
    let text = operator.get("/metrics").await?;
    Ok(text.lines().any(|line| line == "chat_operator_leader 1"))
}

/// One that leads and one that stands by.
async fn pair(place: &Place) -> Result<(Operator, Operator)> {
    let first = place.operator()?;
    first.says("leads").await?;
    let second = place.operator()?;
    await_until("the second is ready", PATIENCE, async || {
        Ok((second.status_of("/readyz").await? == 200).then_some(()))
    })
    .await?;
    Ok((first, second))
}

#[tokio::test]
async fn the_one_that_stands_by_is_live_and_ready_and_writes_nothing() -> Result<()> {
    let place = Place::new().await?;
    let (first, second) = pair(&place).await?;
    ensure!(leads(&first).await? && !leads(&second).await?);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(second.status_of(path).await?, 200);
    }
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    ensure!(!second.log()?.contains("\"leads\""));
    Ok(())
}

#[tokio::test]
async fn one_that_is_told_to_stop_hands_over_at_once() -> Result<()> {
    let place = Place::new().await?;
    let (mut first, second) = pair(&place).await?;
    let before = lease(&place).await?["holderIdentity"].clone();
    first.signal(Signal::SIGTERM)?;
    assert_eq!(first.ended().await?, Some(0));
    second.says("leads").await?;
    let after = lease(&place).await?;
    assert_ne!(after["holderIdentity"], before);
    place.apply("demo", small()).await?;
    place.ready("demo").await
}

#[tokio::test]
async fn one_that_is_killed_is_followed_when_its_lease_has_run_out() -> Result<()> {
    let place = Place::new().await?;
    let (mut first, second) = pair(&place).await?;
    first.kill().await?;
    place.apply("demo", small()).await?;
    second.says("leads").await?;
    place.ready("demo").await
}

#[tokio::test]
async fn one_that_was_asleep_when_its_lease_ran_out_never_writes_again() -> Result<()> {
    let place = Place::new().await?;
    let (mut first, second) = pair(&place).await?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    first.signal(Signal::SIGSTOP)?;
    second.says("leads").await?;
    // Work for the sleeper to wake up to: both would repair this.
    place
        .patch(
            "demo",
            json!({"spec": {"services": {"auth": {"replicas": 3}}}}),
        )
        .await?;
    place.ready("demo").await?;
    // Both are the same user: the one that leads must have said all that it has to say.
    falls_silent(&place).await?;
    let mark = place.access.audit().mark()?;
    first.signal(Signal::SIGCONT)?;
    ensure!(
        first.ended().await? != Some(0),
        "it must say that it lost its lease"
    );
    let user = place.user();
    let writes: Vec<_> = place
        .access
        .audit()
        .calls_since(mark)?
        .into_iter()
        .filter(|call| call.user == user && call.is_write() && call.resource != "leases")
        .collect();
    ensure!(writes.is_empty(), "{writes:?}");
    Ok(())
}

/// Both have read the Lease before either of them writes.
#[rstest]
#[case::there_is_none(None)]
#[case::it_was_given_back(Some(json!({"leaseDurationSeconds": 1})))]
#[tokio::test]
async fn of_two_that_have_read_the_same_lease_one_leads(
    #[case] lease: Option<Value>,
) -> Result<()> {
    let place = Place::new().await?;
    if let Some(spec) = lease {
        let lease = serde_json::from_value(json!({
            "metadata": {"name": "chat-operator"}, "spec": spec,
        }))?;
        let leases = place.api("coordination.k8s.io", "v1", "Lease");
        leases.create(&PostParams::default(), &lease).await?;
    }
    let proxies = [place.proxy().await?, place.proxy().await?];
    let mut operators = Vec::new();
    for proxy in &proxies {
        proxy.set(Fault::HoldAnswers("/leases/chat-operator".into()));
        operators.push(place.operator_through(proxy)?);
    }
    await_until("both have read it", PATIENCE, async || {
        Ok(proxies.iter().all(|it| it.held() > 0).then_some(()))
    })
    .await?;
    for proxy in &proxies {
        proxy.set(Fault::None);
    }
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let mut leaders = 0;
    for operator in &operators {
        leaders += usize::from(leads(operator).await?);
    }
    assert_eq!(leaders, 1);
    Ok(())
}
