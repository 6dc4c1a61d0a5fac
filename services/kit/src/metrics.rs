//! The names of all metrics, and the recorder behind `/metrics`.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// Answered requests, by `method`, `route` and `status`.
pub const HTTP_REQUESTS: &str = "chat_http_requests_total";
/// Seconds from request to answer, by `method` and `route`.
pub const HTTP_SECONDS: &str = "chat_http_request_seconds";
/// Writes to connections, by `port`: public or admin. One with several buffers counts as
/// so many.
pub const WRITES: &str = "chat_server_writes_total";
/// Bytes written to connections, by `port`.
pub const WRITTEN: &str = "chat_server_written_bytes_total";
/// Open sockets, by `kind`.
pub const SOCKETS: &str = "chat_sockets";
/// Frames to and from sockets, by `direction` and `type`.
pub const FRAMES: &str = "chat_socket_frames_total";
/// Closed sockets, by `code`.
pub const SOCKETS_CLOSED: &str = "chat_sockets_closed_total";
/// Events handed to the broker and confirmed, by `type`.
pub const EVENTS_PUBLISHED: &str = "chat_events_published_total";
/// Events handled, by `queue`.
pub const EVENTS_HANDLED: &str = "chat_events_handled_total";
/// Events that failed and were tried again, by `queue`.
pub const EVENTS_FAILED: &str = "chat_events_failed_total";
/// Events given to the dead-letter queue, by `queue`.
pub const DEAD_LETTERS: &str = "chat_dead_letters_total";
/// Events waiting in this process for their confirm.
pub const PUBLISH_QUEUE: &str = "chat_publish_queue_depth";
/// Messages ready in a queue that this process consumes, by `queue`, when it subscribed.
pub const QUEUE_DEPTH: &str = "chat_queue_depth";
/// Partitions of the message log that this process consumes.
pub const PARTITIONS: &str = "chat_partitions";
/// 1 while the broker blocks publishers because of a memory or disk alarm.
pub const BROKER_BLOCKED: &str = "chat_broker_blocked";
/// Lost connections, by `store`.
pub const RECONNECTS: &str = "chat_reconnects_total";
/// Rows waiting in the outbox when the relay last looked.
pub const OUTBOX_DEPTH: &str = "chat_outbox_depth";
/// Cache look-ups, by `result`: hit, miss or down.
pub const CACHE: &str = "chat_cache_total";
/// Sign-ins, by `outcome`.
pub const SIGN_INS: &str = "chat_sign_ins_total";
/// Sign-ups, by `outcome`.
pub const SIGN_UPS: &str = "chat_sign_ups_total";
/// Uses of a refresh token, by `outcome`.
pub const REFRESHES: &str = "chat_refreshes_total";
/// Seconds that one password hash took.
pub const HASH_SECONDS: &str = "chat_password_hash_seconds";
/// Passwords that were not looked at because too many were waiting.
pub const HASHES_REFUSED: &str = "chat_password_hashes_refused_total";
/// Errors answered or logged, by `code`.
pub const ERRORS: &str = "chat_errors_total";

const SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Installs the recorder. Call it once per process.
pub fn start() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .install_recorder()
}
