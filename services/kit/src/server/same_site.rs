//! Writes and sockets from our own pages only.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chat_events::Code;

use crate::Problem;

/// Whether a request with cookies comes from our own pages: the browser says
/// so, or else the Origin must be one of ours. Neither is a no.
pub fn is_same_site(headers: &HeaderMap, origins: &[String]) -> bool {
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(site) => site == b"same-origin",
        None => has_origin_of(headers, origins),
    }
}

/// Whether the Origin is one of ours, compared whole. Two of them are none.
pub fn has_origin_of(headers: &HeaderMap, origins: &[String]) -> bool {
    let mut given = headers.get_all(header::ORIGIN).iter();
    let (Some(one), None) = (given.next(), given.next()) else {
        return false;
    };
    origins.iter().any(|ours| ours.as_bytes() == one.as_bytes())
}

pub(super) async fn same_site(
    State(origins): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if reads || is_same_site(request.headers(), &origins) {
        next.run(request).await
    } else {
        Problem::from(Code::CrossSite).into_response()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::{has_origin_of, is_same_site};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn ours() -> Vec<String> {
        vec!["https://ag.dev".into()]
    }

    #[test]
    fn a_write_from_our_own_pages_passes() {
        for given in [
            headers(&[("sec-fetch-site", "same-origin")]),
            headers(&[("origin", "https://ag.dev")]),
        ] {
            assert!(is_same_site(&given, &ours()), "{given:?}");
        }
    }

    #[test]
    fn a_write_from_anywhere_else_or_from_nowhere_does_not() {
        for given in [
            headers(&[]),
            headers(&[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://ag.dev"),
            ]),
            headers(&[("sec-fetch-site", "same-site")]),
            headers(&[("sec-fetch-site", "none")]),
            headers(&[("origin", "null")]),
            headers(&[("origin", "https://ag.dev.example")]),
        ] {
            assert!(!is_same_site(&given, &ours()), "{given:?}");
        }
    }

    #[test]
    fn an_origin_is_compared_whole() {
        for origin in [
            "http://ag.dev",
            "https://ag.dev:8443",
            "https://ag.dev/",
            "https://AG.dev",
            "https://x.ag.dev",
            "https://ag.dev@evil.example",
            "ag.dev",
            "",
        ] {
            assert!(
                !has_origin_of(&headers(&[("origin", origin)]), &ours()),
                "{origin}"
            );
        }
    }
}
