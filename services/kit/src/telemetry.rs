//! Structured logs on standard output, and traces over OTLP when an endpoint is set.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::HttpArgs;
use crate::trace;

/// Sends what is still buffered when it is shut down.
#[must_use]
pub struct Telemetry {
    exporter: Option<SdkTracerProvider>,
}

/// Starts logging. Call it once, first of all.
pub fn start(service: &'static str, args: &HttpArgs) -> anyhow::Result<Telemetry> {
    let exporter = args
        .otlp_endpoint
        .as_deref()
        .map(|endpoint| exporter(service, endpoint))
        .transpose()?;
    let traces = exporter
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(service)));
    tracing_subscriber::registry()
        .with(EnvFilter::try_new(&args.log)?)
        .with(
            fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false),
        )
        .with(traces)
        .try_init()?;
    if exporter.is_some() {
        trace::export();
    }
    Ok(Telemetry { exporter })
}

impl Telemetry {
    pub async fn shutdown(self) {
        if let Some(provider) = self.exporter {
            // The exporter blocks; the process ends after this in any case.
            let _ = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        }
    }
}

fn exporter(service: &'static str, endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .build()?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(service).build())
        .build())
}
