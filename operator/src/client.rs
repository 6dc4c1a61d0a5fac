//! The two clients of the operator: one that writes only while this process
//! leads, and one for the Lease itself. Both count what they ask for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tokio::sync::{Mutex, watch};
use tower::{BoxError, Layer, Service};

use crate::lease::Leadership;
use crate::metrics;

/// Says that a write was not sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not sent: this process does not lead")]
pub struct NotLeading;

/// A client that sends no write unless `leadership` holds at that moment.
pub fn guarded(config: Config, leadership: Leadership, reach: Arc<Reach>) -> Result<Client> {
    let leadership = Some(leadership);
    Ok(ClientBuilder::try_from(plain(config))?
        .with_layer(&Guard { leadership, reach })
        .build())
}

/// A client that may always write.
pub fn unguarded(config: Config, reach: Arc<Reach>) -> Result<Client> {
    let leadership = None;
    Ok(ClientBuilder::try_from(plain(config))?
        .with_layer(&Guard { leadership, reach })
        .build())
}

/// Keeps a server that is away from being asked by all watches at once.
#[derive(Debug, Default)]
pub struct Reach {
    answers: watch::Sender<u64>,
    turn: Mutex<()>,
}

impl Reach {
    /// While the server is away, one of those who wait asks it so often.
    const TURN: Duration = Duration::from_secs(2);

    /// What [`Self::turn`] needs; to be had before the wait begins.
    pub fn answers(&self) -> watch::Receiver<u64> {
        self.answers.subscribe()
    }

    /// Waits until the server has answered anybody, or it is one's turn to try.
    pub async fn turn(&self, answers: &mut watch::Receiver<u64>) {
        let turn = async {
            let _turn = self.turn.lock().await;
            tokio::time::sleep(Self::TURN).await;
        };
        tokio::select! {
            _ = answers.changed() => {}
            () = turn => {}
        }
    }

    fn heard(&self, code: u16) {
        if is_answer(code) {
            self.answers.send_modify(|answers| *answers += 1);
        }
    }
}

/// Whether a status says that there is a server; 0 is none at all.
pub fn is_answer(code: u16) -> bool {
    code != 0 && code < 500
}

/// Whoever calls knows best what to try again, and the guard must see each try.
fn plain(mut config: Config) -> Config {
    config.default_retry = false;
    config
}

#[derive(Clone)]
struct Guard {
    leadership: Option<Leadership>,
    reach: Arc<Reach>,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            guard: self.clone(),
        }
    }
}

struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S, B> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let writes = !matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        let leads = self.guard.leadership.as_ref().is_none_or(Leadership::holds);
        if writes && !leads {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let verb = verb(&request);
        let reach = self.guard.reach.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            metrics::api_call(verb, code);
            reach.heard(code);
            answer
        })
    }
}

fn verb(request: &Request<Body>) -> &'static str {
    let watches = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("watch=true"));
    match *request.method() {
        Method::GET if watches => "watch",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn while_nobody_is_answered_one_at_a_time_may_try() {
        let reach = Arc::new(Reach::default());
        let begin = tokio::time::Instant::now();
        let waiting: Vec<_> = (0..13)
            .map(|_| {
                let reach = reach.clone();
                tokio::spawn(async move {
                    let mut answers = reach.answers();
                    reach.turn(&mut answers).await;
                })
            })
            .collect();
        for turn in waiting {
            turn.await.expect("no panic");
        }
        assert_eq!(begin.elapsed(), 13 * Reach::TURN);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_anybody_ends_the_wait_of_all() {
        let reach = Reach::default();
        let begin = tokio::time::Instant::now();
        let (mut one, mut other) = (reach.answers(), reach.answers());
        reach.heard(503);
        reach.heard(200);
        tokio::join!(reach.turn(&mut one), reach.turn(&mut other));
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[test]
    fn an_error_of_the_server_is_no_answer() {
        assert!(![0, 500, 502, 503, 504].into_iter().any(is_answer));
        assert!([200, 403, 404, 409, 410, 429].into_iter().all(is_answer));
    }
}
