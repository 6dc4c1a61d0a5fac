//! The answer to an HTTP request, read to its end.

use std::fmt;

use anyhow::ensure;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// Null when the body is not JSON.
    pub body: Value,
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> anyhow::Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok(Self {
            status,
            headers,
            text,
            body,
        })
    }

    /// The body, when the status is the expected one.
    pub fn expect(self, status: u16) -> anyhow::Result<Value> {
        ensure!(self.status == status, "expected {status}, got {self}");
        Ok(self.body)
    }

    /// Checks that this is a problem document with that status and code.
    pub fn expect_problem(&self, status: u16, code: &str) -> anyhow::Result<()> {
        let kind = self.header(CONTENT_TYPE.as_str());
        ensure!(
            self.status == status
                && self.body["code"] == code
                && self.body["status"] == status
                && kind == "application/problem+json",
            "expected {status} {code}, got {self} as {kind:?}"
        );
        Ok(())
    }

    /// Whether the problem names the field.
    pub fn names_field(&self, field: &str) -> bool {
        self.body["errors"]
            .as_array()
            .is_some_and(|errors| errors.iter().any(|error| error["field"] == field))
    }

    /// The header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.text.chars().take(400).collect();
        write!(f, "{} {shown}", self.status)
    }
}
