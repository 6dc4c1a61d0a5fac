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
                JsonRejection::JsonSyntaxError(error) => {
                    // The place before it is made of the names that came.
                    let text = error.body_text();
                    let reason = text.rsplit(": ").next().unwrap_or_default();
                    Problem::new(Code::InvalidJson, format!("This is not JSON: {reason}"))
                }
                other => Problem::new(Code::InvalidJson, without_input("JSON", &other.body_text())),
            }),
        }
    }
}

/// What serde says about an input, without what it repeats of it: a password in
/// the wrong place must not come back in an error.
fn without_input(what: &str, text: &str) -> String {
    // Only the end of such a sentence is about us.
    let wanted = [", expected ", ", there are no ", "missing field `"]
        .into_iter()
        .filter_map(|start| text.rfind(start))
        .max()
        .map(|start| text[start..].trim_start_matches(", ").to_owned());
    // A field whose value was read is one of ours: others are refused by name.
    let field = || {
        let field = text.split(": ").nth(1)?;
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        field
            .chars()
            .all(is_name)
            .then(|| format!("`{field}` is not valid"))
    };
    wanted.or_else(field).map_or_else(
        || format!("The {what} does not fit this request."),
        |reason| format!("The {what} does not fit this request: {reason}"),
    )
}

/// The query string.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new(
                Code::Invalid,
                without_input("query", &rejection.body_text()),
            )),
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
            // What it says repeats the path.
            Err(_) => Err(Code::InvalidId.into()),
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
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::{Method, Request, StatusCode, header};
    use axum::routing::{get, post};
    use serde::Deserialize;
    use serde_json::Value;
    use tower::ServiceExt;
    use uuid::Uuid;

    use super::{Json, Path, Query, without_input};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        #[expect(dead_code, reason = "only read by serde")]
        count: u8,
        #[expect(dead_code, reason = "only read by serde")]
        id: Option<Uuid>,
    }

    /// The detail of the problem that this request gets.
    async fn refusal(method: Method, path: &str, body: &str) -> anyhow::Result<String> {
        let router: Router = Router::new()
            .route("/query", get(async |Query(_): Query<Given>| ()))
            .route("/id/{id}", get(async |Path(_): Path<Uuid>| ()))
            .route("/number/{number}", get(async |Path(_): Path<u8>| ()))
            .route("/body", post(async |Json(_): Json<Given>| ()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_owned()))?;
        let answer = router.oneshot(request).await?;
        anyhow::ensure!(answer.status() == StatusCode::BAD_REQUEST, "{path} {body}");
        let problem: Value = serde_json::from_slice(&to_bytes(answer.into_body(), 4096).await?)?;
        Ok(problem["detail"].as_str().unwrap_or_default().to_owned())
    }

    #[tokio::test]
    async fn an_error_never_repeats_what_came() -> anyhow::Result<()> {
        for path in [
            "/query?count=hunter2",
            "/query?count=1&hunter2=x",
            "/query?count=1&id=hunter2",
            "/query?hunter2",
            "/id/hunter2",
            "/number/hunter2",
        ] {
            let detail = refusal(Method::GET, path, "").await?;
            assert!(!detail.is_empty(), "{path}");
            assert!(!detail.contains("hunter2"), "{path}: {detail}");
        }
        for body in [
            r#"{"count":"hunter2"}"#,
            r#"{"count":1,"hunter2":2}"#,
            r#"{"count":1,", expected hunter2":2}"#,
            r#"{"count":1,"id":"hunter2"}"#,
            r#"{"count":hunter2}"#,
            r#"{"hunter2":hunter2}"#,
            r#""hunter2""#,
            "hunter2",
        ] {
            let detail = refusal(Method::POST, "/body", body).await?;
            assert!(!detail.is_empty(), "{body}");
            assert!(!detail.contains("hunter2"), "{body}: {detail}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn an_error_says_what_was_expected() -> anyhow::Result<()> {
        let detail = refusal(Method::GET, "/query?count=1&other=2", "").await?;
        assert_eq!(
            detail,
            "The query does not fit this request: expected `count` or `id`"
        );
        let detail = refusal(Method::GET, "/query?count=many", "").await?;
        assert_eq!(
            detail,
            "The query does not fit this request: `count` is not valid"
        );
        let detail = refusal(Method::POST, "/body", r#"{"id":null}"#).await?;
        assert_eq!(
            detail,
            "The JSON does not fit this request: missing field `count` at line 1 column 11"
        );
        Ok(())
    }

    #[test]
    fn an_input_that_looks_like_an_error_is_not_repeated() {
        for of_serde in [
            "invalid type: string \"a, expected hunter2\", expected a map",
            "unknown field `a, expected hunter2`, there are no fields",
        ] {
            let text = without_input("JSON", of_serde);
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
