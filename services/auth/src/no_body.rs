//! A request that has nothing to say: no body, or an empty JSON object.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use chat_events::Code;
use chat_kit::Problem;
use chat_kit::extract::Json;
use serde::Deserialize;

pub struct NoBody;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state)
            .await
            .map_err(|_| Code::TooLarge)?;
        if !bytes.is_empty() {
            let request = Request::from_parts(parts, Body::from(bytes));
            let Json(Empty {}) = Json::from_request(request, state).await?;
        }
        Ok(Self)
    }
}
