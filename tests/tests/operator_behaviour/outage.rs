//! The API server is away for a while, and the operator is not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use chat_kube::audit::Call;
use chat_kube::control_plane::Options;
use chat_kube::testing::own_control_plane;
use kube::api::DeleteParams;

use super::harness::{Place, small};
use super::metrics::sum;
use super::process::{Operator, PATIENCE};
use super::quiet::{calls, falls_silent};

/// How many calls the operator has made, answered or not.
async fn calls_of(operator: &Operator) -> Result<f64> {
    let text = operator.get("/metrics").await?;
    Ok(sum(&text, "chat_operator_api_calls_total", &[]))
}

/// Passes when the operator has written nothing since the mark, and still repairs.
async fn has_changed_nothing_and_works(place: &Place, mark: chat_kube::audit::Mark) -> Result<()> {
    falls_silent(place).await?;
    let calls = calls(place, mark)?;
    let writes: Vec<_> = calls.iter().filter(|call| Call::is_write(call)).collect();
    ensure!(writes.is_empty(), "{writes:?}");
    let deployments = place.api_of("Deployment")?;
    deployments
        .delete("demo-auth", &DeleteParams::default())
        .await?;
    await_until("it is back", PATIENCE, async || {
        Ok(deployments.get_opt("demo-auth").await?)
    })
    .await?;
    place.ready("demo").await
}

#[tokio::test]
async fn an_operator_asks_a_server_that_is_away_now_and_then_and_goes_on_when_it_is_back()
-> Result<()> {
    // Each watch notices by itself that the server is away, and then waits for its turn.
    const WATCHES: u32 = 16;
    const MORE: u32 = 10;
    let plane = own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    // One that competes with nobody need not end when it cannot be heard.
    let operator = place.operator_with(&["--leader-elect", "false"])?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    falls_silent(&place).await?;

    let mark = place.access.audit().mark()?;
    let before = calls_of(&operator).await?;
    plane.api_server.kill().await?;
    let away = Instant::now();
    await_until("it has asked again and again", 2 * PATIENCE, async || {
        let asked = calls_of(&operator).await? - before;
        Ok((asked >= f64::from(WATCHES + MORE)).then_some(()))
    })
    .await?;
    // Once in 2 s for a watch, and once for what kinds there are.
    let took = away.elapsed();
    let least = Duration::from_secs(MORE.into());
    ensure!(took >= least, "{} calls in {took:?}", WATCHES + MORE);
    plane.api_server.start().await?;
    let worked = has_changed_nothing_and_works(&place, mark).await;
    worked.with_context(|| operator.log().unwrap_or_default())
}

#[tokio::test]
async fn the_one_that_stood_by_leads_after_an_outage_that_outlasts_the_lease() -> Result<()> {
    let plane = own_control_plane(Options::default()).await;
    let place = Place::on(plane.access()).await?;
    let mut first = place.operator()?;
    first.says("leads").await?;
    let second = place.operator()?;
    await_until("the second is ready", PATIENCE, async || {
        Ok((second.status_of("/readyz").await? == 200).then_some(()))
    })
    .await?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    falls_silent(&place).await?;

    let mark = place.access.audit().mark()?;
    plane.api_server.kill().await?;
    // It must not write any more, as nobody can tell who else does.
    ensure!(first.ended().await? != Some(0), "it lost its lease");
    ensure!(!second.log()?.contains("\"leads\""), "nobody can lead now");
    plane.api_server.start().await?;
    second.says("leads").await?;
    has_changed_nothing_and_works(&place, mark).await
}
