//! The two clients of the operator: one that writes only while this process
//! leads, and one for the Lease itself. Both count what they ask for.

use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Result;
use http::{Method, Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::{BoxError, Layer, Service};

use crate::lease::Leadership;
use crate::metrics;

/// Says that a write was not sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not sent: this process does not lead")]
pub struct NotLeading;

/// A client that sends no write unless `leadership` holds at that moment.
pub fn guarded(config: Config, leadership: Leadership) -> Result<Client> {
    Ok(ClientBuilder::try_from(plain(config))?
        .with_layer(&Guard(Some(leadership)))
        .build())
}

/// A client that may always write.
pub fn unguarded(config: Config) -> Result<Client> {
    Ok(ClientBuilder::try_from(plain(config))?
        .with_layer(&Guard(None))
        .build())
}

/// Whoever calls knows best what to try again, and the guard must see each try.
fn plain(mut config: Config) -> Config {
    config.default_retry = false;
    config
}

#[derive(Clone)]
struct Guard(Option<Leadership>);

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            leadership: self.0.clone(),
        }
    }
}

struct Guarded<S> {
    inner: S,
    leadership: Option<Leadership>,
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
        let leads = self.leadership.as_ref().is_none_or(Leadership::holds);
        if writes && !leads {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let verb = verb(&request);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            metrics::api_call(verb, code);
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
