//! Takes spans over HTTP, as a collector of OpenTelemetry would.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;
use tokio::net::TcpListener;

pub struct Collector {
    /// What a program needs to be told.
    pub endpoint: String,
    received: Received,
}

type Received = Arc<Mutex<Vec<ResourceSpans>>>;

#[derive(Debug)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub trace: Vec<u8>,
    pub id: Vec<u8>,
    /// Empty of one that begins a trace.
    pub parent: Vec<u8>,
    attributes: Vec<KeyValue>,
}

impl Span {
    /// An attribute that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        text(&self.attributes, key)
    }
}

impl Collector {
    pub async fn start() -> anyhow::Result<Self> {
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

    pub fn spans(&self) -> Vec<Span> {
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
    let resource = of_service.resource.as_ref();
    let attributes = resource.map_or(&[][..], |it| &it.attributes);
    let service = text(attributes, "service.name").unwrap_or_default();
    let spans = of_service.scope_spans.iter().flat_map(|it| &it.spans);
    spans.map(move |span| Span {
        service: service.to_owned(),
        name: span.name.clone(),
        trace: span.trace_id.clone(),
        id: span.span_id.clone(),
        parent: span.parent_span_id.clone(),
        attributes: span.attributes.clone(),
    })
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}
