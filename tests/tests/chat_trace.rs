//! What a collector of traces hears over OTLP.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use chat_e2e::collector::{Collector, Span};
use chat_e2e::{Chat, ChatSocket};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn the_spans_of_a_message_have_one_trace_id_from_the_socket_to_the_store()
-> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let chat = Chat::exporting(collector.endpoint.clone()).await?;
    let (ada, _, conversation) = chat.two_people().await?;
    let mut socket = ChatSocket::open(&ada).await?;
    let sent = socket.say(conversation, "where do I pass?").await?;
    socket.await_stored(sent).await?;
    socket.close().await?;
    // What is still buffered is sent at the end.
    chat.stop().await?;
    let spans = collector.spans();
    let mut stored = spans.iter().filter(|span| span.name == "store");
    let store = stored.next().context("nothing was stored")?;
    ensure!(stored.next().is_none(), "one message, stored twice");
    ensure!(store.trace != [0; 16]);
    let same = names(&spans, &store.trace);
    for wanted in [
        ("socket-handler", "publish"),
        ("messages", "store"),
        ("messages", "publish"),
    ] {
        ensure!(same.contains(&wanted), "no {wanted:?} in {same:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_trace_that_a_caller_began_goes_on_over_http_and_the_outbox() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let chat = Chat::exporting(collector.endpoint.clone()).await?;
    let [ada, ben] = chat.two_strangers().await?;
    let trace = rand::random::<[u8; 16]>();
    let traceparent = format!("00-{:032x}-00000000000000a1-01", u128::from_be_bytes(trace));
    let request = ada
        .request(Method::POST, "/api/conversations")
        .header("traceparent", traceparent)
        .json(&json!({ "user_id": ben.id }));
    ada.send(request).await?.expect(201)?;
    chat.stop().await?;
    let spans = collector.spans();
    let same = names(&spans, &trace);
    for wanted in [("messages", "request"), ("messages", "publish")] {
        ensure!(same.contains(&wanted), "no {wanted:?} in {same:?}");
    }
    Ok(())
}

/// Which spans of which services belong to a trace.
fn names<'a>(spans: &'a [Span], trace: &[u8]) -> BTreeSet<(&'a str, &'a str)> {
    spans
        .iter()
        .filter(|span| span.trace == trace)
        .map(|span| (span.service.as_str(), span.name.as_str()))
        .collect()
}
