//! What a collector of traces hears of the operator.

use anyhow::{Context, Result, ensure};
use chat_e2e::collector::Collector;
use nix::sys::signal::Signal;

use super::harness::{Place, small};

#[tokio::test]
async fn a_pass_is_a_span_with_one_below_it_for_each_call() -> Result<()> {
    let place = Place::new().await?;
    let collector = Collector::start().await?;
    let mut operator = place.operator_with(&["--otlp-endpoint", &collector.endpoint])?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let children = place.children("demo").await?;
    // What is still buffered is sent at the end.
    operator.signal(Signal::SIGTERM)?;
    assert_eq!(operator.ended().await?, Some(0));

    let spans = collector.spans();
    let of_passes: Vec<_> = spans.iter().filter(|span| span.name == "pass").collect();
    let chat = format!("{}/demo", place.name());
    for pass in &of_passes {
        assert_eq!(pass.service, "chat-operator");
        assert_eq!(pass.text("chat"), Some(chat.as_str()));
        ensure!(pass.parent.is_empty(), "{pass:?}");
    }
    let calls = || spans.iter().filter(|span| span.name == "call");
    for call in calls() {
        let mut all = of_passes.iter();
        all.find(|pass| pass.id == call.parent && pass.trace == call.trace)
            .with_context(|| format!("{call:?} belongs to no pass"))?;
    }
    for (kind, name) in children.keys() {
        let object = format!("{kind} {name}");
        let mut all = calls();
        all.find(|it| it.text("object") == Some(&object) && it.text("action") == Some("apply"))
            .with_context(|| format!("no span for {object}"))?;
    }
    Ok(())
}
