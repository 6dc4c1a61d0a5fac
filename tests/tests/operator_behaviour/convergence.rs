//! From a manifest to a running chat.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::harness::{Place, small};

#[tokio::test]
async fn a_host_is_all_it_takes_to_get_a_chat() -> Result<()> {
    let place = Place::new().await?;
    let operator = place.operator()?;
    place.apply("demo", small()).await?;
    place
        .ready("demo")
        .await
        .with_context(|| operator.log().unwrap_or_default())?;

    let chat = place.chat("demo").await?;
    let status = &chat.data["status"];
    assert_eq!(status["ready"], "6/6");
    assert_eq!(status["url"], "http://chat.example.com");
    assert_eq!(
        status["observedGeneration"],
        json!(chat.metadata.generation)
    );
    assert_eq!(status["components"].as_array().map(Vec::len), Some(6));
    for condition in status["conditions"].as_array().into_iter().flatten() {
        for field in [
            "type",
            "status",
            "reason",
            "message",
            "lastTransitionTime",
            "observedGeneration",
        ] {
            ensure!(!condition[field].is_null(), "{field} of {condition}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_can_wait_for_it() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    let wait = [
        "wait",
        "chat/demo",
        "--for=condition=Ready",
        "--timeout=60s",
        "-n",
        place.name(),
    ];
    place.access.kubectl(&wait).await?;
    let columns = place
        .access
        .kubectl(&["get", "chat", "-n", place.name()])
        .await?;
    for word in ["demo", "True", "Ready", "6/6", "http://chat.example.com"] {
        ensure!(columns.contains(word), "{word} in {columns}");
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_shows_release_age_and_stores_of_a_chat() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.secret("redis", &super::secrets::FIRST).await?;
    let spec = json!({
        "host": "chat.example.com",
        "version": "1.2.3",
        "redis": {"mode": "External", "external": {"secretRef": {"name": "redis"}}},
    });
    place.apply("demo", spec).await?;
    place.ready("demo").await?;
    let words = async |more: &[&str]| -> Result<Vec<Vec<String>>> {
        let arguments = [&["get", "chats", "-n", place.name()][..], more].concat();
        let table = place.access.kubectl(&arguments).await?;
        let line = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        Ok(table.lines().map(line).collect())
    };
    let narrow = words(&[]).await?;
    let columns = [
        "NAME", "READY", "REASON", "SERVICES", "VERSION", "URL", "AGE",
    ];
    assert_eq!(narrow[0], columns);
    assert_eq!(narrow[1][4], "1.2.3");
    ensure!(
        narrow[1][6].ends_with('s') || narrow[1][6].ends_with('m'),
        "{narrow:?}"
    );
    let wide = words(&["-o", "wide"]).await?;
    assert_eq!(wide[0][7..], ["POSTGRES", "RABBITMQ", "REDIS"]);
    assert_eq!(wide[1][7..], ["Managed", "Managed", "External"]);
    Ok(())
}

#[tokio::test]
async fn the_operator_writes_nothing_into_the_spec() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("demo", small()).await?;
    place.ready("demo").await?;
    let chat = place.chat("demo").await?;
    assert_eq!(chat.metadata.generation, Some(1));
    for entry in chat.metadata.managed_fields.iter().flatten() {
        if entry.manager.as_deref() == Some("chat-operator") {
            assert_eq!(entry.subresource.as_deref(), Some("status"));
            let fields = entry.fields_v1.as_ref().context("no fields")?;
            ensure!(fields.0.get("f:spec").is_none());
        }
    }
    ensure!(chat.metadata.finalizers.unwrap_or_default().is_empty());
    Ok(())
}

#[tokio::test]
async fn two_chats_live_in_one_namespace() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    place.apply("one", small()).await?;
    place
        .apply("two", json!({"host": "two.example.com"}))
        .await?;
    place.ready("one").await?;
    place.ready("two").await?;
    let names = |children: super::harness::Children, chat: &str| -> Vec<String> {
        let rest = |name: String| name.trim_start_matches(chat).to_owned();
        let jobs = |kind: &String| kind != "Job";
        children
            .into_keys()
            .filter(|(kind, _)| jobs(kind))
            .map(|(_, name)| rest(name))
            .collect()
    };
    let (one, two) = (place.children("one").await?, place.children("two").await?);
    assert_eq!(names(one, "one"), names(two, "two"));
    Ok(())
}

#[tokio::test]
async fn every_transition_is_one_event() -> Result<()> {
    let place = Place::new().await?;
    let _operator = place.operator()?;
    let external = json!({
        "host": "chat.example.com",
        "redis": {"mode": "External", "external": {"secretRef": {"name": "redis"}}},
    });
    place.apply("demo", external).await?;
    let stalled = place
        .becomes("demo", "Stalled", "True", "SecretMissing")
        .await?;
    ensure!(
        stalled["message"]
            .as_str()
            .is_some_and(|text| text.contains("redis")),
        "{stalled}"
    );
    // The status is written first, and the event after it.
    let first = super::quiet::settled_events(&place, "demo", "Warning SecretMissing").await?;
    // Looked at again for reasons that change nothing.
    for number in 0..5 {
        let annotation = json!({"metadata": {"annotations": {"look": number.to_string()}}});
        place.patch("demo", annotation).await?;
    }
    place
        .secret(
            "redis",
            &[
                ("host", "redis.example.com:6379"),
                ("username", "chat"),
                ("password", "secret"),
            ],
        )
        .await?;
    place.ready("demo").await?;
    let warnings = |events: &[String]| {
        events
            .iter()
            .filter(|it| *it == "Warning SecretMissing")
            .count()
    };
    assert_eq!(warnings(&first), 1, "{first:?}");
    let all = super::quiet::settled_events(&place, "demo", "Normal Ready").await?;
    assert_eq!(warnings(&all), 1, "{all:?}");
    assert_eq!(
        all.iter().filter(|it| *it == "Normal Ready").count(),
        1,
        "{all:?}"
    );
    Ok(())
}
