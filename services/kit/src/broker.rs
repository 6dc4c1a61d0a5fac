//! RabbitMQ: one connection that comes back for ever. What is declared, read
//! and written on it is in the modules below.

use std::sync::Arc;
use std::time::Duration;

use chat_events::Envelope;
use futures::StreamExt;
use lapin::types::AMQPValue;
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::config::BrokerArgs;
use crate::health::Part;
use crate::{metrics as names, trace};

mod body;
mod consume;
mod declare;
mod keep;
mod pod;
mod publisher;

use body::Body;
pub use consume::HandleError;
pub use declare::declare;
pub use pod::PodEvent;
pub use publisher::{Outgoing, PublishError, Publisher};

/// Longest wait for a connection or for any answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);
/// Larger bodies take several frames. lapin keeps room for 32 of them each way, all of
/// it touched, for each connection: 4 MiB with the broker's 128 KiB.
const FRAME: u32 = 32 * 1024;
const CONTENT_TYPE: &str = "application/json";
const PERSISTENT: u8 = 2;

/// A broker connection for one purpose (publish or consume); cheap to clone.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    args: BrokerArgs,
    name: String,
    ready: Part,
    connection: Mutex<Option<Connection>>,
}

impl Broker {
    /// Connects when it is first used. `name` shows in the broker's management pages.
    pub fn new(args: &BrokerArgs, name: String, ready: Part) -> Self {
        Self {
            inner: Arc::new(Inner {
                args: args.clone(),
                name,
                ready,
                connection: Mutex::new(None),
            }),
        }
    }

    /// A new channel on a live connection to a broker with the whole topology.
    /// Waits for the broker for as long as it takes.
    pub async fn channel(&self) -> Channel {
        let mut backoff = Backoff::default();
        loop {
            match self.try_channel().await {
                Ok(channel) => return channel,
                Err(error) => {
                    self.inner.ready.set(false);
                    tracing::warn!(
                        broker.connection = self.inner.name,
                        error = %error,
                        "the broker is not available"
                    );
                    backoff.wait().await;
                }
            }
        }
    }

    async fn try_channel(&self) -> anyhow::Result<Channel> {
        let mut connection = self.inner.connection.lock().await;
        if let Some(live) = connection.as_ref().filter(|live| live.status().connected()) {
            let channel = timeout(ANSWER, live.create_channel()).await??;
            self.inner.ready.set(true);
            return Ok(channel);
        }
        let fresh = timeout(ANSWER, self.connect()).await??;
        let channel = timeout(ANSWER, fresh.create_channel()).await??;
        timeout(ANSWER, declare(&channel)).await??;
        *connection = Some(fresh);
        self.inner.ready.set(true);
        Ok(channel)
    }

    async fn connect(&self) -> lapin::Result<Connection> {
        let args = &self.inner.args;
        let mut uri = AMQPUri {
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: args.rmq_user.clone(),
                    password: args.rmq_password.expose_secret().to_owned(),
                },
                host: args.rmq_host.clone(),
                port: args.rmq_port,
            },
            vhost: args.rmq_vhost.clone(),
            query: Default::default(),
        };
        uri.query.heartbeat = Some(5);
        uri.query.frame_max = Some(FRAME);
        let properties =
            ConnectionProperties::default().with_connection_name(self.inner.name.as_str().into());
        let connection = Connection::connect_uri(uri, properties).await?;
        let mut events = connection.events_listener();
        let (name, ready) = (self.inner.name.clone(), self.inner.ready.clone());
        // Ends with the connection, which drops the sender.
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    lapin::Event::ConnectionBlocked(reason) => {
                        metrics::gauge!(names::BROKER_BLOCKED).set(1.0);
                        tracing::warn!(broker.connection = name, reason = %reason, "the broker blocks publishers");
                    }
                    lapin::Event::ConnectionUnblocked => {
                        metrics::gauge!(names::BROKER_BLOCKED).set(0.0);
                        tracing::info!(broker.connection = name, "the broker takes events again");
                    }
                    lapin::Event::Error(error) => {
                        ready.set(false);
                        metrics::counter!(names::RECONNECTS, "store" => "broker").increment(1);
                        tracing::warn!(broker.connection = name, error = %error, "lost the broker");
                    }
                    _ => {}
                }
            }
            metrics::gauge!(names::BROKER_BLOCKED).set(0.0);
        });
        Ok(connection)
    }
}

fn decode(body: &[u8]) -> Result<Envelope, String> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if envelope.v != Envelope::VERSION {
        return Err(format!("unknown envelope version {}", envelope.v));
    }
    // Ties the log of whoever hears an event to the request that caused it.
    for recorded in &envelope.events {
        tracing::debug!(
            trace_id = recorded.trace.as_deref().and_then(trace::id),
            key = recorded.event.routing_key(),
            "received"
        );
    }
    Ok(envelope)
}

fn persistent() -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(CONTENT_TYPE.into())
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// 0.2 s doubling to 3 s, with jitter, for ever: whoever waits is back soon after the
/// other side is.
#[derive(Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    pub async fn wait(&mut self) {
        let ceiling = Duration::from_millis(200 << self.tries.min(4)).min(Duration::from_secs(3));
        self.tries += 1;
        tokio::time::sleep(ceiling.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}
