//! The names of all metrics, and the recorder behind `/metrics`.

use std::time::Duration;

use ::metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Seconds that one pass took, by `result`: done or failed.
pub const PASS_SECONDS: &str = "chat_operator_pass_seconds";
/// Seconds that a ChatCluster waited for a worker.
pub const QUEUE_WAIT: &str = "chat_operator_queue_wait_seconds";
/// Calls to the API server, by `verb` and `code`; code 0 is no answer.
pub const API_CALLS: &str = "chat_operator_api_calls_total";
/// ChatClusters that wait to be looked at.
pub const QUEUE_DEPTH: &str = "chat_operator_queue_depth";
/// ChatClusters that are tried again later because they failed.
pub const BACK_OFF: &str = "chat_operator_back_off";
/// 1 in the process that leads.
pub const LEADER: &str = "chat_operator_leader";

const SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// After a start, many wait for their first look.
const WAITS: [f64; 14] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0,
];

/// Installs the recorder. Call it once per process.
pub fn start() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .set_buckets_for_metric(Matcher::Full(QUEUE_WAIT.into()), &WAITS)?
        .install_recorder()
}

pub fn pass(result: &'static str, took: Duration) {
    histogram!(PASS_SECONDS, "result" => result).record(took);
}

pub fn waited(time: Duration) {
    histogram!(QUEUE_WAIT).record(time);
}

pub fn api_call(verb: &'static str, code: u16) {
    counter!(API_CALLS, "verb" => verb, "code" => code.to_string()).increment(1);
}

pub fn leader(leads: bool) {
    gauge!(LEADER).set(if leads { 1.0 } else { 0.0 });
}

/// Counts of a moment; far below what a float holds exactly.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub fn depth(waiting: usize, failing: usize) {
    gauge!(QUEUE_DEPTH).set(waiting as f64);
    gauge!(BACK_OFF).set(failing as f64);
}
