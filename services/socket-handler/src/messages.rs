//! Questions to the messages service, always in the caller's own name.

use std::time::Duration;

use chat_events::{ConversationId, LogEvent, Member, UserId, limits};
use chat_kit::{Problem, trace};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// All tries of one question.
const ANSWER: Duration = Duration::from_secs(4);
/// A pod that takes no connection, or does not acknowledge what was sent to it, for so
/// long is gone, and another one is asked.
const GONE: Duration = Duration::from_millis(700);
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_millis(100);

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

/// For questions to other services.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .connect_timeout(GONE)
        .tcp_user_timeout(GONE)
        .build()
}

/// Sends the question as the owner of `token`. It may be asked again: every question
/// here has the same answer when it is.
pub async fn answer<T: DeserializeOwned>(
    request: RequestBuilder,
    token: &SecretString,
) -> Result<T, AskError> {
    let mut request = request.bearer_auth(token.expose_secret());
    if let Some(trace) = trace::current() {
        request = request.header("traceparent", trace);
    }
    let response = ask(request).await.map_err(unavailable)?;
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

/// The answer of the first pod that has one.
async fn ask(request: RequestBuilder) -> reqwest::Result<Response> {
    let end = Instant::now() + ANSWER;
    let mut tries = 1;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // Bodies are in memory, so that there is always another copy.
        let Some(again) = request.try_clone() else {
            return request.timeout(left).send().await;
        };
        match again.timeout(left).send().await {
            Err(_) if tries < TRIES && Instant::now() + AGAIN < end => {
                tries += 1;
                sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}

fn unavailable(error: reqwest::Error) -> AskError {
    AskError::Unavailable(error.into())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::{AskError, Messages, Positions, TRIES, client};

    const NOTHING: &str = r#"{"epoch":"1","positions":[]}"#;

    /// Asks a service whose pods go away before they answer, so many times.
    async fn ask(gone: u32) -> anyhow::Result<Result<Positions, AskError>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let service = async move {
            for _ in 0..gone {
                drop(listener.accept().await?);
            }
            let (mut stream, _) = listener.accept().await?;
            let _ = stream.read(&mut [0; 4096]).await?;
            let length = NOTHING.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all((head + NOTHING).as_bytes()).await?;
            anyhow::Ok(())
        };
        let served = tokio::spawn(service);
        let messages = Messages::new(client()?, &url, "");
        let answer = messages.positions(&"token".into()).await;
        served.abort();
        Ok(answer)
    }

    #[tokio::test]
    async fn a_pod_that_goes_away_is_not_the_last_that_is_asked() -> anyhow::Result<()> {
        assert!(ask(TRIES - 1).await?.is_ok());
        assert!(matches!(ask(TRIES).await?, Err(AskError::Unavailable(_))));
        Ok(())
    }
}
