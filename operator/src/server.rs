//! What the operator tells its own cluster: `/livez`, `/readyz` and `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

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

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use serde_json::Value;

    use super::*;
    use crate::chat::ChatRef;
    use crate::context::queue::{Outcome, Reason};
    use crate::context::testing::context;

    fn health(synced: Vec<CancellationToken>) -> Health {
        Health {
            context: Arc::new(context(|| (503, Value::Null))),
            synced,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_does_not_come_back_is_told_after_a_minute() {
        let health = health(Vec::new());
        let live = async || livez(State(health.clone())).await.0;
        let chat = ChatRef {
            namespace: "n".into(),
            name: "demo".into(),
        };
        let queue = &health.context.queue;
        queue.add(chat.clone(), Reason::First);
        queue.next().await;
        tokio::time::advance(STALLED - Duration::from_secs(1)).await;
        assert_eq!(live().await, StatusCode::OK);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(live().await, StatusCode::SERVICE_UNAVAILABLE);
        queue.done(&chat, Outcome::Done);
        assert_eq!(live().await, StatusCode::OK);
    }

    #[tokio::test]
    async fn who_has_not_seen_everything_is_not_ready() {
        let lists = vec![CancellationToken::new(), CancellationToken::new()];
        let health = health(lists.clone());
        let ready = async || readyz(State(health.clone())).await.0;
        lists[0].cancel();
        assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
        lists[1].cancel();
        assert_eq!(ready().await, StatusCode::OK);
    }
}
