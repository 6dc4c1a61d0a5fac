//! Log lines, and traces for who wants them.

use anyhow::{Context, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Args {
    /// Which log lines to print, such as `info` or `info,kube=debug`.
    #[arg(long, env = "LOG", default_value = "info")]
    log: String,
    /// `json` or `text`.
    #[arg(long, env = "LOG_FORMAT", default_value = "json", value_parser = ["json", "text"])]
    log_format: String,
    /// Where traces go (OTLP over HTTP); nowhere when empty.
    #[arg(long, env = "OTLP_ENDPOINT", default_value = "")]
    otlp_endpoint: String,
}

/// Traces on their way.
pub struct Log(Option<SdkTracerProvider>);

impl Args {
    pub fn start(&self) -> Result<Log> {
        let lines = if self.log_format == "json" {
            fmt::layer().json().flatten_event(true).boxed()
        } else {
            fmt::layer().boxed()
        };
        let provider = self.provider()?;
        let traces = provider.as_ref().map(|provider| {
            tracing_opentelemetry::layer().with_tracer(provider.tracer("chat-operator"))
        });
        tracing_subscriber::registry()
            .with(EnvFilter::try_new(&self.log).context("--log")?)
            .with(lines)
            .with(traces)
            .try_init()?;
        Ok(Log(provider))
    }

    fn provider(&self) -> Result<Option<SdkTracerProvider>> {
        if self.otlp_endpoint.is_empty() {
            return Ok(None);
        }
        let endpoint = format!("{}/v1/traces", self.otlp_endpoint.trim_end_matches('/'));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint)
            .build()
            .context("--otlp-endpoint")?;
        let resource = Resource::builder()
            .with_service_name("chat-operator")
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Some(provider))
    }
}

impl Log {
    /// Sends what is left.
    pub fn stop(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!("traces were lost: {error}");
        }
    }
}
