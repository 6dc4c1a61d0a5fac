//! What the operator tells its own cluster: `/livez`, `/readyz` and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::controller::Context;

/// A pass that takes longer than this does not come back.
const STALLED: Duration = Duration::from_mins(1);

#[derive(Clone)]
pub struct Health {
    pub context: Arc<Context>,
    pub synced: Vec<CancellationToken>,
    pub metrics: PrometheusHandle,
}

/// Answers the same whether this process leads or stands by.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn livez(State(health): State<Health>) -> (StatusCode, String) {
    let longest = health.context.queue.longest();
    if longest < STALLED {
        (StatusCode::OK, "ok\n".into())
    } else {
        let seconds = longest.as_secs();
        let text = format!("a pass has been running for {seconds} s\n");
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    let missing = health.synced.iter().filter(|it| !it.is_cancelled()).count();
    if missing == 0 {
        (StatusCode::OK, "ok\n".into())
    } else {
        let text = format!("{missing} watches have no complete list yet\n");
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

async fn metrics(State(health): State<Health>) -> String {
    health.metrics.render()
}
