//! What a collector of traces hears over OTLP.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use chat_e2e::{Chat, ChatSocket};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use reqwest::Method;
use serde_json::json;
use tokio::net::TcpListener;

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

/// Takes spans over HTTP, as a collector would.
struct Collector {
    endpoint: String,
    received: Received,
}

type Received = Arc<Mutex<Vec<ResourceSpans>>>;

struct Span {
    service: String,
    name: String,
    trace: Vec<u8>,
}

impl Collector {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let received = Received::default();
        let router = Router::new()
            .route("/v1/traces", post(receive))
            .with_state(received.clone());
        // Ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { endpoint, received })
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.iter().flat_map(spans_of).collect()
    }
}

async fn receive(State(received): State<Received>, body: Bytes) -> StatusCode {
    let Ok(export) = ExportTraceServiceRequest::decode(body) else {
        return StatusCode::BAD_REQUEST;
    };
    received
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(export.resource_spans);
    StatusCode::OK
}

fn spans_of(of_service: &ResourceSpans) -> impl Iterator<Item = Span> {
    let attributes = of_service.resource.iter().flat_map(|it| &it.attributes);
    let service = attributes
        .filter(|attribute| attribute.key == "service.name")
        .find_map(
            |attribute| match attribute.value.as_ref()?.value.as_ref()? {
                Value::StringValue(name) => Some(name.clone()),
                _ => None,
            },
        )
        .unwrap_or_default();
    let spans = of_service.scope_spans.iter().flat_map(|it| &it.spans);
    spans.map(move |span| Span {
        service: service.clone(),
        name: span.name.clone(),
        trace: span.trace_id.clone(),
    })
}

/// Which spans of which services belong to a trace.
fn names<'a>(spans: &'a [Span], trace: &[u8]) -> BTreeSet<(&'a str, &'a str)> {
    spans
        .iter()
        .filter(|span| span.trace == trace)
        .map(|span| (span.service.as_str(), span.name.as_str()))
        .collect()
}
