//! A client of the chat socket.

use std::time::Duration;

use anyhow::{Context, bail};
use chat_events::{ClientId, ConversationId};
use futures::{SinkExt, StreamExt};
use reqwest::header::{COOKIE, HeaderValue, ORIGIN};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const PATIENCE: Duration = Duration::from_secs(10);

pub struct Socket {
    pub stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// The answer to an upgrade that was refused.
#[derive(Debug)]
pub struct Refused {
    pub status: u16,
    pub code: Value,
}

impl Socket {
    pub async fn open(
        url: &str,
        path: &str,
        token: Option<&str>,
        origin: Option<&str>,
    ) -> Result<Self, Refused> {
        let broken = |error: String| Refused {
            status: 0,
            code: error.into(),
        };
        let address = format!("{}{path}", url.replacen("http", "ws", 1));
        let mut request = address
            .into_client_request()
            .map_err(|error| broken(error.to_string()))?;
        let headers = request.headers_mut();
        let value = |text: String| HeaderValue::from_bytes(text.as_bytes());
        if let Some(token) = token {
            let cookie =
                value(format!("auth={token}")).map_err(|error| broken(error.to_string()))?;
            headers.insert(COOKIE, cookie);
        }
        if let Some(origin) = origin {
            let origin = value(origin.to_owned()).map_err(|error| broken(error.to_string()))?;
            headers.insert(ORIGIN, origin);
        }
        match connect_async(request).await {
            Ok((stream, _)) => Ok(Self { stream }),
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                let body: Value = serde_json::from_slice(body).unwrap_or_default();
                Err(Refused {
                    status: response.status().as_u16(),
                    code: body["code"].clone(),
                })
            }
            Err(error) => Err(broken(error.to_string())),
        }
    }

    pub async fn say(&mut self, frame: Value) -> anyhow::Result<()> {
        Ok(self.stream.send(Message::text(frame.to_string())).await?)
    }

    pub async fn create(
        &mut self,
        conversation: ConversationId,
        content: &str,
    ) -> anyhow::Result<ClientId> {
        let client_id = ClientId::generate();
        self.say(json!({
            "type": "message.create",
            "client_id": client_id,
            "conversation_id": conversation,
            "content": content,
        }))
        .await?;
        Ok(client_id)
    }

    /// The next frame that is not a heartbeat.
    pub async fn frame(&mut self) -> anyhow::Result<Value> {
        loop {
            let frame = self.any_frame().await?;
            if frame["type"] != "heartbeat" {
                return Ok(frame);
            }
        }
    }

    async fn any_frame(&mut self) -> anyhow::Result<Value> {
        loop {
            let next = timeout(PATIENCE, self.stream.next()).await;
            match next.context("no frame came")?.context("closed")?? {
                Message::Text(text) => return Ok(serde_json::from_str(&text)?),
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    /// The next frame of that type; others are passed over.
    pub async fn await_frame(&mut self, kind: &str) -> anyhow::Result<Value> {
        loop {
            let frame = self
                .any_frame()
                .await
                .with_context(|| format!("waiting for {kind}"))?;
            if frame["type"] == kind {
                return Ok(frame);
            }
        }
    }

    /// The code with which the server closes.
    pub async fn close_code(&mut self) -> anyhow::Result<u16> {
        loop {
            let next = timeout(3 * PATIENCE, self.stream.next()).await;
            if let Message::Close(frame) = next.context("not closed")?.context("broken")?? {
                return Ok(frame.context("no code")?.code.into());
            }
        }
    }
}
