//! What Prometheus reads.

use anyhow::{Context, Result, ensure};
use chat_e2e::await_until;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use serde_json::json;

use super::harness::{Place, small};
use super::process::{Operator, PATIENCE};
use super::quiet::falls_silent;

/// The sum of all lines of a metric that have these labels.
pub fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let wanted: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{value}\""))
        .collect();
    text.lines()
        .filter_map(|line| {
            let (metric, value) = line.rsplit_once(' ')?;
            let (found, labels) = metric.split_once('{').unwrap_or((metric, ""));
            let all = wanted.iter().all(|it| labels.contains(it));
            (found == name && all).then(|| value.parse::<f64>().ok())?
        })
        .sum()
}

async fn value(operator: &Operator, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    Ok(sum(&operator.get("/metrics").await?, name, labels))
}

#[tokio::test]
async fn the_metrics_tell_passes_calls_and_who_waits() -> Result<()> {
    let place = Place::new().await?;
    let operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    falls_silent(&place).await?;
    let children = place.children("demo").await?.len();
    let text = operator.get("/metrics").await?;
    let of = |name: &str, labels: &[(&str, &str)]| sum(&text, name, labels);
    let passes = "chat_operator_pass_seconds_count";
    ensure!(of(passes, &[("result", "done")]) >= 1.0, "{text}");
    assert!(of("chat_operator_pass_seconds_sum", &[]) > 0.0);
    let calls = "chat_operator_api_calls_total";
    let made = of(calls, &[("verb", "patch"), ("code", "201")]);
    assert_eq!(made.to_string(), children.to_string());
    for verb in ["get", "watch"] {
        ensure!(
            of(calls, &[("verb", verb), ("code", "200")]) > 0.0,
            "{verb}"
        );
    }
    assert_eq!(of("chat_operator_leader", &[]).to_string(), "1");
    assert_eq!(of("chat_operator_queue_depth", &[]).to_string(), "0");
    assert_eq!(of("chat_operator_back_off", &[]).to_string(), "0");

    let theirs: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": "other-auth"},
        "spec": {"ports": [{"port": 1234}]},
    }))?;
    let services = place.api_of("Service")?;
    services.create(&PostParams::default(), &theirs).await?;
    place.apply("other", small()).await?;
    await_until("one is tried again later", PATIENCE, async || {
        let failing = value(&operator, "chat_operator_back_off", &[]).await?;
        ensure!(failing.to_string() == "1", "{failing}");
        Ok(Some(()))
    })
    .await?;
    services
        .delete("other-auth", &DeleteParams::default())
        .await?;
    place.ready("other").await?;
    let failing = value(&operator, "chat_operator_back_off", &[]).await?;
    assert_eq!(failing.to_string(), "0");
    Ok(())
}

#[tokio::test]
async fn a_hundred_passes_that_find_the_same_fault_say_so_once() -> Result<()> {
    let place = Place::new().await?;
    let operator = place.operator()?;
    let external = json!({
        "host": "chat.example.com",
        "redis": {"mode": "External", "external": {"secretRef": {"name": "redis"}}},
    });
    place.apply("demo", external).await?;
    place
        .becomes("demo", "Stalled", "True", "SecretMissing")
        .await?;
    let passes = async || value(&operator, "chat_operator_pass_seconds_count", &[]).await;
    for number in 0..100 {
        let before = passes().await?;
        let look = json!({"metadata": {"annotations": {"look": number.to_string()}}});
        place.patch("demo", look).await?;
        await_until("it was looked at again", PATIENCE, async || {
            Ok((passes().await? > before).then_some(()))
        })
        .await?;
    }
    assert_eq!(place.events("demo").await?, ["Warning SecretMissing"]);

    // A fault that comes and goes is one event, which counts.
    let secrets = place.api_of("Secret")?;
    for _ in 0..5 {
        place.secret("redis", &[("host", "redis:6379")]).await?;
        place
            .becomes("demo", "Stalled", "True", "SecretKeyMissing")
            .await?;
        secrets.delete("redis", &DeleteParams::default()).await?;
        place
            .becomes("demo", "Stalled", "True", "SecretMissing")
            .await?;
    }
    let events = place.api("events.k8s.io", "v1", "Event");
    let counts = async || -> Result<Vec<(String, i64)>> {
        let all = events.list(&kube::api::ListParams::default()).await?;
        let of_it = all
            .iter()
            .filter(|it| it.data["regarding"]["name"] == "demo");
        let mut counts: Vec<_> = of_it
            .map(|it| {
                let reason = it.data["reason"].as_str().unwrap_or_default();
                let count = it.data["series"]["count"].as_i64().unwrap_or(1);
                (reason.to_owned(), count)
            })
            .collect();
        counts.sort();
        Ok(counts)
    };
    let expected = [
        ("SecretKeyMissing".to_owned(), 5),
        ("SecretMissing".to_owned(), 6),
    ];
    let mut last = Vec::new();
    await_until("two events that count", PATIENCE, async || {
        last = counts().await?;
        Ok((last == expected).then_some(()))
    })
    .await
    .with_context(|| format!("{last:?}"))
}
