//! Questions to the messages service, always in the caller's own name.

use std::time::Duration;

use chat_events::{ConversationId, LogEvent, Member, UserId, limits};
use chat_kit::{Problem, trace};
use reqwest::{RequestBuilder, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const ANSWER: Duration = Duration::from_secs(4);

/// Why another service did not answer the question.
#[derive(Debug)]
pub enum AskError {
    /// Not there, or not for this caller.
    NotFound,
    /// The caller's token is no longer good.
    Unauthenticated,
    Unavailable(anyhow::Error),
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::NotFound => Self::not_found(),
            AskError::Unauthenticated => chat_events::Code::Unauthenticated.into(),
            AskError::Unavailable(source) => Self::unavailable(source),
        }
    }
}

/// Where every conversation of a user stands.
#[derive(Debug, Serialize, Deserialize)]
pub struct Positions {
    pub epoch: String,
    pub positions: Vec<Standing>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Standing {
    pub conversation_id: ConversationId,
    pub seq: i64,
    pub members: Vec<UserId>,
}

#[derive(Debug, Deserialize)]
pub struct Conversation {
    pub id: ConversationId,
    pub members: Vec<Member>,
    pub seq: i64,
}

#[derive(Debug, Deserialize)]
pub struct Events {
    pub events: Vec<LogEvent>,
    pub complete: bool,
    /// The newest entry of the log.
    pub seq: i64,
}

#[derive(Clone)]
pub struct Messages {
    client: reqwest::Client,
    url: String,
    /// One of our own pages: requests that write must come from one.
    origin: String,
}

impl Messages {
    pub fn new(client: reqwest::Client, url: &str, origin: &str) -> Self {
        Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
            origin: origin.to_owned(),
        }
    }

    pub async fn positions(&self, token: &SecretString) -> Result<Positions, AskError> {
        let url = format!("{}/api/conversations/positions", self.url);
        answer(self.client.get(url), token).await
    }

    pub async fn conversation(
        &self,
        token: &SecretString,
        id: ConversationId,
    ) -> Result<Conversation, AskError> {
        let url = format!("{}/api/conversations/{id}", self.url);
        answer(self.client.get(url), token).await
    }

    pub async fn events(
        &self,
        token: &SecretString,
        conversation: ConversationId,
        after: i64,
    ) -> Result<Events, AskError> {
        let request = self
            .client
            .get(format!("{}/api/messages/events", self.url))
            .query(&[("conversation", conversation.to_string())])
            .query(&[("after", after), ("limit", i64::from(limits::RESUME_PAGE))]);
        answer(request, token).await
    }

    /// The one conversation of the caller and `peer`, made when there is none.
    pub async fn open(&self, token: &SecretString, peer: UserId) -> Result<Conversation, AskError> {
        let request = self
            .client
            .post(format!("{}/api/conversations", self.url))
            .header(header::ORIGIN, &self.origin)
            .json(&serde_json::json!({ "user_id": peer }));
        answer(request, token).await
    }
}

/// Sends the question as the owner of `token`.
pub async fn answer<T: DeserializeOwned>(
    request: RequestBuilder,
    token: &SecretString,
) -> Result<T, AskError> {
    let mut request = request.timeout(ANSWER).bearer_auth(token.expose_secret());
    if let Some(trace) = trace::current() {
        request = request.header("traceparent", trace);
    }
    let response = request.send().await.map_err(unavailable)?;
    match response.status() {
        StatusCode::UNAUTHORIZED => Err(AskError::Unauthenticated),
        // A bad id is the id of nothing.
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => Err(AskError::NotFound),
        _ => response
            .error_for_status()
            .map_err(unavailable)?
            .json()
            .await
            .map_err(unavailable),
    }
}

fn unavailable(error: reqwest::Error) -> AskError {
    AskError::Unavailable(error.into())
}
