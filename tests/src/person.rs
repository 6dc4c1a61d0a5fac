//! Somebody with an account, speaking to the services as a browser would.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use chat_events::{ConversationId, MessageView, UserId};
use reqwest::Method;
use reqwest::header::{COOKIE, ORIGIN, SET_COOKIE};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::{Answer, Site};

/// A request takes longer only when something hangs.
const REQUEST: Duration = Duration::from_secs(40);
const PATIENCE: Duration = Duration::from_secs(20);

/// One browser: cookies, and an address of its own, so that limits per address do not
/// join people who have nothing to do with each other.
#[derive(Clone)]
pub struct Browser {
    pub site: Site,
    pub address: IpAddr,
    http: reqwest::Client,
    cookies: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Browser {
    pub fn new(site: &Site) -> anyhow::Result<Self> {
        let address = next_address(site);
        let mut http = reqwest::Client::builder()
            .local_address(address)
            .timeout(REQUEST)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(there) = site.address {
            let url = reqwest::Url::parse(&site.url)?;
            http = http.resolve(url.host_str().context("no host")?, there);
        }
        let http = http.build()?;
        Ok(Self {
            site: site.clone(),
            address,
            http,
            cookies: Arc::default(),
        })
    }

    /// A request with cookies and Origin; nothing is sent yet.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.site.url))
            .header(ORIGIN, &self.site.origin);
        if let Some(cookies) = self.cookie_header() {
            request = request.header(COOKIE, cookies);
        }
        request
    }

    /// A request with neither cookies nor Origin.
    pub fn bare_request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.site.url))
    }

    /// Sends a request and keeps the cookies of the answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.send().await?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            self.keep(cookie.to_str()?);
        }
        Answer::read(response).await
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::PATCH, path).json(body))
            .await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().get(name).cloned()
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar().insert(name.to_owned(), value.to_owned());
    }

    pub fn forget_cookie(&self, name: &str) {
        self.jar().remove(name);
    }

    pub fn cookie_header(&self) -> Option<String> {
        let jar = self.jar();
        let pairs: Vec<_> = jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn jar(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, set_cookie: &str) {
        let mut parts = set_cookie.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let gone = value.is_empty() || parts.any(|part| part.eq_ignore_ascii_case("max-age=0"));
        if gone {
            self.forget_cookie(name);
        } else {
            self.set_cookie(name, value);
        }
    }
}

/// Below 127.0.0.0/8 or, for a site on a node of `chat_cluster`, below 10.32.0.0/11:
/// from there Pods are reached, and all of these addresses are the node's as well.
fn next_address(site: &Site) -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // The process id keeps tests in other processes at other addresses.
    let number = (std::process::id() << 8).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let [_, a, b, c] = number.to_be_bytes();
    // Not the last byte 0 or 255, and never 127.0.0.1.
    let c = c % 253 + 1;
    let on_a_node = site.address.is_some_and(|it| !it.ip().is_loopback());
    IpAddr::V4(if on_a_node {
        Ipv4Addr::new(10, 32 | (a & 31), b, c)
    } else {
        Ipv4Addr::new(127, a | 1, b, c)
    })
}

/// Asks again when auth says so, and only then. It hashes as many passwords at once
/// as there are cores, lets 64 more wait, and answers whoever comes then with 503
/// and the seconds after which to come again: what a chat full of people meets when
/// all of them sign up in one moment. Nothing has been done then, so that the same
/// may be asked again. A 503 without that header is a fault, and is returned.
async fn post_when_there_is_room(
    browser: &Browser,
    path: &str,
    body: &Value,
) -> anyhow::Result<Answer> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = browser.post(path, body).await?;
        let Ok(seconds) = answer.header("retry-after").parse() else {
            return Ok(answer);
        };
        let next = Instant::now() + Duration::from_secs(seconds);
        if answer.status != 503 || next > deadline {
            return Ok(answer);
        }
        sleep_until(next).await;
    }
}

/// Somebody who has signed up and is signed in.
#[derive(Clone)]
pub struct Person {
    pub browser: Browser,
    pub id: UserId,
    pub username: String,
    pub email: String,
    pub password: String,
}

impl std::ops::Deref for Person {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}

impl Person {
    /// A new account with a name that starts with `name` and is unique.
    pub async fn sign_up(site: &Site, name: &str) -> anyhow::Result<Self> {
        let unique = Uuid::new_v4().simple().to_string();
        let username = format!("{name}_{}", &unique[..12]);
        let email = format!("{username}@example.org");
        let password = format!("correct horse {unique}");
        let browser = Browser::new(site)?;
        let account = json!({ "email": email, "password": password, "username": username });
        let answer = post_when_there_is_room(&browser, "/api/auth/signup", &account)
            .await?
            .expect(201)?;
        let id = answer["user"]["id"]
            .as_str()
            .context("the answer to a sign-up has no user id")?
            .parse()?;
        Ok(Self {
            browser,
            id,
            username,
            email,
            password,
        })
    }

    /// The same person in another browser.
    pub async fn sign_in_elsewhere(&self) -> anyhow::Result<Self> {
        let browser = Browser::new(&self.site)?;
        let other = Self {
            browser,
            ..self.clone()
        };
        other.sign_in().await?;
        Ok(other)
    }

    /// The same person and session, through another door such as a single pod.
    pub fn at(&self, site: &Site) -> Self {
        let mut other = self.clone();
        other.browser.site = site.clone();
        other
    }

    pub async fn sign_in(&self) -> anyhow::Result<()> {
        self.post(
            "/api/auth/signin",
            &json!({ "email": self.email, "password": self.password }),
        )
        .await?
        .expect(200)?;
        Ok(())
    }

    pub async fn sign_out(&self) -> anyhow::Result<()> {
        self.post("/api/auth/signout", &json!({}))
            .await?
            .expect(204)?;
        Ok(())
    }

    /// New cookies for the same session.
    pub async fn refresh(&self) -> anyhow::Result<Answer> {
        self.post("/api/auth/refresh", &json!({})).await
    }

    /// The conversation with somebody, made when it does not exist.
    pub async fn conversation_with(&self, other: &Self) -> anyhow::Result<ConversationId> {
        let answer = self
            .post("/api/conversations", &json!({ "user_id": other.id }))
            .await?;
        ensure!(
            matches!(answer.status, 200 | 201),
            "no conversation: {answer}"
        );
        Ok(serde_json::from_value(answer.body["id"].clone())?)
    }

    /// The whole history, page by page from the newest.
    pub async fn history(&self, conversation: ConversationId) -> anyhow::Result<Vec<MessageView>> {
        let mut pages = Vec::new();
        let mut before = String::new();
        loop {
            let page = self
                .get(&format!(
                    "/api/messages?conversation={conversation}&limit=100{before}"
                ))
                .await?
                .expect(200)?;
            let messages: Vec<MessageView> = serde_json::from_value(page["messages"].clone())?;
            let first = messages.first().map(|message| message.seq);
            pages.push(messages);
            match first {
                Some(seq) if page["has_before"] == true => before = format!("&before={seq}"),
                _ => break,
            }
        }
        Ok(pages.into_iter().rev().flatten().collect())
    }

    /// The texts of the whole history.
    pub async fn texts(&self, conversation: ConversationId) -> anyhow::Result<Vec<String>> {
        let history = self.history(conversation).await?;
        Ok(history.into_iter().map(|message| message.content).collect())
    }

    /// A conversation as this member sees it.
    pub async fn conversation(&self, conversation: ConversationId) -> anyhow::Result<Value> {
        self.get(&format!("/api/conversations/{conversation}"))
            .await?
            .expect(200)
    }
}
