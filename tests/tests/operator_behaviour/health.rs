//! `/livez` and `/readyz` while the API server does not answer.

use anyhow::{Result, ensure};
use chat_e2e::await_until;

use super::harness::{Place, small};
use super::process::PATIENCE;
use super::proxy::Fault;

#[tokio::test]
async fn an_operator_is_not_ready_before_it_has_seen_everything() -> Result<()> {
    let place = Place::new().await?;
    let proxy = place.proxy().await?;
    proxy.set(Fault::Hold);
    let operator = place.operator_through(&proxy)?;
    operator.says("up").await?;
    assert_eq!(operator.status_of("/readyz").await?, 503);
    assert_eq!(operator.status_of("/livez").await?, 200);
    ensure!(!operator.log()?.contains("\"leads\""));

    proxy.set(Fault::None);
    await_until("it is ready", PATIENCE, async || {
        Ok((operator.status_of("/readyz").await? == 200).then_some(()))
    })
    .await?;
    place.apply("demo", small()).await?;
    place.ready("demo").await
}
