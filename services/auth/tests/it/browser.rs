//! Somebody's browser: cookies, an Origin, and an address of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, ensure};
use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::server::{Auth, ORIGIN};

pub const PASSWORD: &str = "tiny lamp sings over rivers";

#[derive(Clone)]
pub struct Browser {
    url: String,
    pub address: String,
    pub cookies: BTreeMap<String, String>,
    http: reqwest::Client,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Browser {
    pub fn new(auth: &Auth) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            url: auth.url.clone(),
            address: format!("198.51.{}.{}", number / 250, number % 250 + 1),
            cookies: BTreeMap::new(),
            http: reqwest::Client::new(),
        }
    }

    /// The same browser at another replica.
    pub fn at(&self, auth: &Auth) -> Self {
        Self {
            url: auth.url.clone(),
            ..self.clone()
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        self.http
            .request(method, format!("{}{path}", self.url))
            .header("origin", ORIGIN)
            .header("x-forwarded-for", &self.address)
            .header(COOKIE, cookies.join("; "))
    }

    /// Sends, and keeps the cookies of the answer.
    pub async fn send(&mut self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let (name, rest) = cookie.to_str()?.split_once('=').context("no cookie")?;
            let value = rest.split(';').next().unwrap_or_default();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// A new account of that name, signed in; returns its id.
    pub async fn sign_up(&mut self, name: &str) -> anyhow::Result<String> {
        let body = json!({ "email": email(name), "password": PASSWORD, "username": name });
        let answer = self.post("/api/auth/signup", &body).await?.expect(201)?;
        Ok(answer.body["user"]["id"]
            .as_str()
            .context("no id")?
            .to_owned())
    }

    pub async fn sign_in(&mut self, name: &str, password: &str) -> anyhow::Result<Answer> {
        let body = json!({ "email": email(name), "password": password });
        self.post("/api/auth/signin", &body).await
    }

    pub async fn sign_out(&mut self) -> anyhow::Result<Answer> {
        self.post("/api/auth/signout", &json!({})).await
    }

    pub async fn refresh(&mut self) -> anyhow::Result<Answer> {
        self.post("/api/auth/refresh", &json!({})).await
    }

    pub async fn current_user(&mut self) -> anyhow::Result<Answer> {
        self.get("/api/auth/currentuser").await
    }

    pub fn cookie(&self, name: &str) -> anyhow::Result<String> {
        self.cookies
            .get(name)
            .cloned()
            .with_context(|| format!("no cookie {name}"))
    }
}

impl Answer {
    pub fn expect(self, status: u16) -> anyhow::Result<Self> {
        ensure!(
            self.status == status,
            "{} instead of {status}: {}",
            self.status,
            self.body
        );
        Ok(self)
    }

    /// A problem of that status and code, as documented.
    pub fn problem(self, status: u16, code: &str) -> anyhow::Result<Self> {
        let answer = self.expect(status)?;
        ensure!(answer.body["code"] == code, "not {code}: {}", answer.body);
        ensure!(
            answer.body["status"] == status,
            "another status inside: {}",
            answer.body
        );
        let kind = answer.headers.get("content-type");
        ensure!(
            kind.is_some_and(|kind| kind == "application/problem+json"),
            "{kind:?}"
        );
        Ok(answer)
    }

    /// The fields that a problem names.
    pub fn fields(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array();
        errors
            .into_iter()
            .flatten()
            .filter_map(|error| error["field"].as_str())
            .collect()
    }

    pub fn retry_after(&self) -> Option<u64> {
        self.headers.get("retry-after")?.to_str().ok()?.parse().ok()
    }

    pub fn session(&self) -> &str {
        self.body["session"]["id"].as_str().unwrap_or_default()
    }
}

pub fn email(name: &str) -> String {
    format!("{name}@example.org")
}
