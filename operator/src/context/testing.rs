//! A context on an API server that a test plays.

use std::sync::Arc;

use clap::Parser;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::Value;

use super::Context;
use crate::client::Reach;
use crate::events::Announcer;
use crate::validate::Defaults;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    defaults: Defaults,
}

/// Every call is answered by this function, with a status and an object.
pub fn client(answer: impl Fn(&Request<Body>) -> (u16, Value) + Send + 'static) -> Client {
    let server = tower::service_fn(move |request: Request<Body>| {
        let (status, object) = answer(&request);
        let body = Body::from(object.to_string().into_bytes());
        let response = Response::builder().status(status).body(body);
        async move { response }
    });
    Client::new(server, "default")
}

/// The same, when it does not matter what is asked for.
pub fn context(answer: impl Fn() -> (u16, Value) + Send + 'static) -> Context {
    let client = client(move |_| answer());
    let announcer = Announcer::new(client.clone(), "test".into());
    let flags = Flags::parse_from(["operator"]);
    let reach = Arc::new(Reach::default());
    Context::new(client, reach, flags.defaults, announcer)
}
