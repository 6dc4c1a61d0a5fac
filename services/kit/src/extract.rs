//! Extractors of axum that answer with a [`Problem`] when the input is bad.

use std::net::{IpAddr, SocketAddr};

use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use chat_events::Code;
use serde::de::DeserializeOwned;

use crate::Problem;

/// A JSON body. The type behind it should refuse unknown fields.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(match rejection {
                JsonRejection::MissingJsonContentType(_) => Code::UnsupportedMediaType.into(),
                JsonRejection::BytesRejection(_) => Code::TooLarge.into(),
                other => Problem::new(Code::InvalidJson, without_input(&other.body_text())),
            }),
        }
    }
}

/// What serde says about a body, without the values that it repeats: a password
/// in the wrong place must not come back in an error.
fn without_input(text: &str) -> String {
    let wanted = text
        .rsplit_once(", expected ")
        .map(|(_, rest)| format!("expected {rest}"))
        .or_else(|| {
            let (_, rest) = text.rsplit_once(", there are no ")?;
            Some(format!("there are no {rest}"))
        });
    wanted.map_or_else(
        || text.to_owned(),
        |wanted| format!("The JSON does not fit this request: {wanted}"),
    )
}

/// The query string.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(Code::Invalid, rejection.body_text())),
        }
    }
}

/// Parameters of the path.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(Code::InvalidId, rejection.body_text())),
        }
    }
}

/// The address of the client: the last `X-Forwarded-For` entry, which our own
/// NGINX wrote, when the peer is on this machine or network; else the peer.
pub struct ClientAddress(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|ConnectInfo(peer)| peer.ip().to_canonical())
            .ok_or_else(|| Problem::internal(anyhow::anyhow!("no peer address")))?;
        let near = match peer {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
        };
        let forwarded = parts
            .headers
            .get_all("x-forwarded-for")
            .iter()
            .next_back()
            .and_then(|value| value.to_str().ok())
            .and_then(|list| list.rsplit(',').next())
            .and_then(|address| address.trim().parse().ok());
        Ok(Self(forwarded.filter(|_| near).unwrap_or(peer)))
    }
}

#[cfg(test)]
mod tests {
    use super::without_input;

    #[test]
    fn an_error_says_what_was_expected_and_not_what_came() {
        let of_serde = "password: invalid type: string \"hunter2, expected x\", expected a map at line 1 column 9";
        assert_eq!(
            without_input(of_serde),
            "The JSON does not fit this request: expected a map at line 1 column 9"
        );
        let missing = "missing field `email` at line 1 column 2";
        assert_eq!(without_input(missing), missing);
    }
}
