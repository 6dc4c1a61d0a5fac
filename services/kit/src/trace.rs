//! One trace id from the HTTP request over the broker to the socket: the W3C
//! `traceparent`, carried by the task.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tokio::task_local;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

task_local! {
    static CURRENT: String;
}

static EXPORTED: AtomicBool = AtomicBool::new(false);

/// Whether anybody gets to see spans besides the ids in the log.
pub fn is_exported() -> bool {
    EXPORTED.load(Ordering::Relaxed)
}

pub(crate) fn export() {
    EXPORTED.store(true, Ordering::Relaxed);
}

/// The `traceparent` of what the task is doing, if it is doing something for somebody.
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs `work` under a `traceparent`, such as one from an event, in a `span` that
/// [`join`]s it.
pub async fn within<F: Future>(traceparent: String, span: Span, work: F) -> F::Output {
    join(&traceparent, &span);
    CURRENT.scope(traceparent, work.instrument(span)).await
}

/// Makes a span that was not entered yet part of a trace. Give it an empty field
/// `trace_id`, and every log line within has the id.
pub fn join(traceparent: &str, span: &Span) {
    if let Some(id) = id(traceparent) {
        span.record("trace_id", id);
    }
    if !is_exported() {
        return;
    }
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    // Fails only when the span is not exported.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
}

/// Goes on with a well-formed `traceparent` from outside, or starts a new trace.
pub fn accept(header: Option<&str>) -> String {
    header
        .filter(|text| id(text).is_some())
        .map_or_else(start, str::to_owned)
}

/// A new trace.
pub fn start() -> String {
    format!(
        "00-{:032x}-{:016x}-01",
        rand::random::<u128>().max(1),
        rand::random::<u64>().max(1)
    )
}

/// The trace id of a `traceparent`: 32 hexadecimal digits.
pub fn id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    (parts.next().is_none()
        && version == "00"
        && hex(trace, 32)
        && hex(span, 16)
        && hex(flags, 2)
        && trace.bytes().any(|byte| byte != b'0'))
    .then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::{accept, id, start};

    #[test]
    fn a_well_formed_traceparent_is_continued() {
        let given = start();
        assert_eq!(accept(Some(&given)), given);
    }

    #[test]
    fn anything_else_starts_a_new_trace() {
        for bad in [
            "",
            "00-xyz",
            "00-00000000000000000000000000000000-1111111111111111-01",
        ] {
            let accepted = accept(Some(bad));
            assert_ne!(accepted, bad);
            assert!(id(&accepted).is_some());
        }
    }
}
