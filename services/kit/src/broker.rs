//! RabbitMQ: one connection that comes back for ever, the topology, and
//! consumers. The publisher is in [`publisher`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chat_events::topology::{self, Exchange, Queue};
use chat_events::{Envelope, Recorded, Service, limits};
use futures::{FutureExt, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::BrokerArgs;
use crate::health::Part;
use crate::{metrics as names, trace};

mod publisher;
pub use publisher::{Outgoing, PublishError, Publisher};

/// Longest wait for a connection or for any answer of the broker.
const ANSWER: Duration = Duration::from_secs(10);
/// An event that was delivered this often, and never handled nor refused, takes
/// the process down with it.
const CRASHES: i64 = 50;
const CONTENT_TYPE: &str = "application/json";
const PERSISTENT: u8 = 2;

/// Why a batch of events could not be handled.
#[derive(Debug)]
pub enum HandleError {
    /// Something we need is away: the same batch is tried again until it works.
    Unavailable(anyhow::Error),
    /// The events themselves are at fault: each is tried alone, and after
    /// [`limits::DELIVERY_TRIES`] goes to the dead-letter queue.
    Failed(anyhow::Error),
}

impl From<sqlx::Error> for HandleError {
    fn from(error: sqlx::Error) -> Self {
        if crate::pg::is_unavailable(&error) {
            Self::Unavailable(error.into())
        } else {
            Self::Failed(error.into())
        }
    }
}

/// What a pod's own queue has to say.
pub enum PodEvent {
    /// From now on events arrive; what happened before is to be fetched.
    Subscribed,
    Events(Arc<[Recorded]>),
    /// The queue is gone, and with it an unknown number of events.
    Lost,
}

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

    /// Feeds a durable queue to `handle`, in order and in batches of at most
    /// `batch` events, until `stop`. Events are acknowledged after `handle`
    /// returned. The channel is closed with the consumer still held, because a
    /// cancelled consumer gives its events back after newer ones.
    pub async fn consume<F, Fut>(
        &self,
        queue: &Queue,
        batch: usize,
        stop: &CancellationToken,
        mut handle: F,
    ) where
        F: FnMut(Arc<[Recorded]>) -> Fut + Send,
        Fut: Future<Output = Result<(), HandleError>> + Send,
    {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let channel = tokio::select! {
                () = stop.cancelled() => return,
                channel = self.channel() => channel,
            };
            match self
                .consume_once(&channel, queue, batch, stop, &mut handle)
                .await
            {
                Ok(()) => backoff = Backoff::default(),
                Err(error) => {
                    tracing::warn!(queue = queue.name, error = %error, "consumer stopped");
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = backoff.wait() => {}
                    }
                }
            }
        }
    }

    async fn consume_once<F, Fut>(
        &self,
        channel: &Channel,
        queue: &Queue,
        batch: usize,
        stop: &CancellationToken,
        handle: &mut F,
    ) -> anyhow::Result<()>
    where
        F: FnMut(Arc<[Recorded]>) -> Fut + Send,
        Fut: Future<Output = Result<(), HandleError>> + Send,
    {
        declare_queue(channel, queue).await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let prefetch = u16::try_from(2 * batch).unwrap_or(u16::MAX);
        channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await?;
        let state = channel
            .queue_declare(
                queue.name.as_str().into(),
                QueueDeclareOptions {
                    passive: true,
                    ..QueueDeclareOptions::default()
                },
                FieldTable::default(),
            )
            .await?;
        metrics::gauge!(names::QUEUE_DEPTH, "queue" => queue.name.clone())
            .set(f64::from(state.message_count()));
        let mut consumer = channel
            .basic_consume(
                queue.name.as_str().into(),
                ShortString::default(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        let outcome = self
            .feed(channel, &mut consumer, queue, batch, stop, handle)
            .await;
        // Closed before the consumer is dropped: a dropped consumer is a
        // cancelled one.
        let _ = timeout(ANSWER, channel.close(200, "done".into())).await;
        drop(consumer);
        outcome
    }

    async fn feed<F, Fut>(
        &self,
        channel: &Channel,
        consumer: &mut Consumer,
        queue: &Queue,
        batch: usize,
        stop: &CancellationToken,
        handle: &mut F,
    ) -> anyhow::Result<()>
    where
        F: FnMut(Arc<[Recorded]>) -> Fut + Send,
        Fut: Future<Output = Result<(), HandleError>> + Send,
    {
        loop {
            let deliveries = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                deliveries = next_batch(consumer, batch) => deliveries?,
            };
            // The newest delivery that is not given back: to acknowledge one
            // that was is an error that closes the channel.
            let mut last = None;
            let mut events = Vec::new();
            for delivery in &deliveries {
                match decode(&delivery.data) {
                    Ok(_) if earlier_tries(delivery) >= CRASHES => {
                        self.handle_all(channel, queue, std::mem::take(&mut events), stop, handle)
                            .await?;
                        bury(channel, queue, &delivery.data, "delivered again and again").await?;
                        last = Some(delivery.delivery_tag);
                    }
                    Ok(envelope) => {
                        events.extend(envelope.events);
                        last = Some(delivery.delivery_tag);
                    }
                    Err(error) => {
                        // Those before it first, so that order holds.
                        self.handle_all(channel, queue, std::mem::take(&mut events), stop, handle)
                            .await?;
                        metrics::counter!(names::EVENTS_FAILED, "queue" => queue.name.clone())
                            .increment(1);
                        if earlier_tries(delivery) + 1 < limits::DELIVERY_TRIES {
                            // Another version of this service may be able to read it.
                            let again = BasicNackOptions {
                                requeue: true,
                                ..BasicNackOptions::default()
                            };
                            channel.basic_nack(delivery.delivery_tag, again).await?;
                        } else {
                            bury(channel, queue, &delivery.data, &error).await?;
                            last = Some(delivery.delivery_tag);
                        }
                    }
                }
            }
            self.handle_all(channel, queue, events, stop, handle)
                .await?;
            if let Some(last) = last {
                channel
                    .basic_ack(last, BasicAckOptions { multiple: true })
                    .await?;
            }
        }
    }

    async fn handle_all<F, Fut>(
        &self,
        channel: &Channel,
        queue: &Queue,
        events: Vec<Recorded>,
        stop: &CancellationToken,
        handle: &mut F,
    ) -> anyhow::Result<()>
    where
        F: FnMut(Arc<[Recorded]>) -> Fut + Send,
        Fut: Future<Output = Result<(), HandleError>> + Send,
    {
        if events.is_empty() {
            return Ok(());
        }
        let events: Arc<[Recorded]> = events.into();
        if let Err(error) = try_until_available(&events, queue, stop, handle).await? {
            tracing::warn!(
                queue = queue.name,
                error = format!("{error:#}"),
                "a batch failed; trying each event alone"
            );
            for event in events.iter() {
                let alone: Arc<[Recorded]> = Arc::new([event.clone()]);
                let mut tries = 0;
                while let Err(error) = try_until_available(&alone, queue, stop, handle).await? {
                    tries += 1;
                    metrics::counter!(names::EVENTS_FAILED, "queue" => queue.name.clone())
                        .increment(1);
                    if tries >= limits::DELIVERY_TRIES {
                        let body = serde_json::to_vec(&Envelope::new(vec![event.clone()]))?;
                        bury(channel, queue, &body, &format!("{error:#}")).await?;
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10 << tries)).await;
                }
            }
        }
        metrics::counter!(names::EVENTS_HANDLED, "queue" => queue.name.clone())
            .increment(events.len() as u64);
        Ok(())
    }

    /// Feeds this pod's own queue to `handle` until `stop`. The queue is
    /// exclusive and bounded: what it loses is fetched again after `Lost`.
    pub async fn consume_pod_queue<F, Fut>(
        &self,
        service: Service,
        pod: &str,
        stop: &CancellationToken,
        mut handle: F,
    ) where
        F: FnMut(PodEvent) -> Fut + Send,
        Fut: Future<Output = ()> + Send,
    {
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            let channel = tokio::select! {
                () = stop.cancelled() => return,
                channel = self.channel() => channel,
            };
            let subscribed = subscribe_pod(&channel, service, pod).await;
            let lost = match subscribed {
                Ok(mut consumer) => {
                    backoff = Backoff::default();
                    handle(PodEvent::Subscribed).await;
                    let end = feed_pod(&channel, &mut consumer, stop, &mut handle).await;
                    if stop.is_cancelled() {
                        return;
                    }
                    handle(PodEvent::Lost).await;
                    end
                }
                Err(error) => Err(error),
            };
            if let Err(error) = lost {
                tracing::warn!(service = service.name(), error = %error, "the pod's queue is lost");
            }
            let _ = timeout(ANSWER, channel.close(200, "again".into())).await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = backoff.wait() => {}
            }
        }
    }
}

/// Retries while something is away; the inner result is the batch's own fault.
async fn try_until_available<F, Fut>(
    events: &Arc<[Recorded]>,
    queue: &Queue,
    stop: &CancellationToken,
    handle: &mut F,
) -> anyhow::Result<Result<(), anyhow::Error>>
where
    F: FnMut(Arc<[Recorded]>) -> Fut + Send,
    Fut: Future<Output = Result<(), HandleError>> + Send,
{
    let mut backoff = Backoff::default();
    loop {
        // A handler that panics is a handler that failed.
        let outcome = std::panic::AssertUnwindSafe(handle(events.clone()))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(HandleError::Failed(anyhow::anyhow!("the handler panicked"))));
        match outcome {
            Ok(()) => return Ok(Ok(())),
            Err(HandleError::Failed(error)) => return Ok(Err(error)),
            Err(HandleError::Unavailable(error)) => {
                tracing::warn!(
                    queue = queue.name,
                    error = format!("{error:#}"),
                    "waiting to handle events"
                );
                tokio::select! {
                    () = stop.cancelled() => anyhow::bail!("stopped while waiting"),
                    () = backoff.wait() => {}
                }
            }
        }
    }
}

/// The next delivery and what else is there already, up to `batch` events.
async fn next_batch(
    consumer: &mut Consumer,
    batch: usize,
) -> anyhow::Result<Vec<lapin::message::Delivery>> {
    let first = consumer
        .next()
        .await
        .ok_or_else(|| anyhow::anyhow!("the broker ended the consumer"))??;
    let mut deliveries = vec![first];
    while deliveries.len() < batch {
        match consumer.next().now_or_never() {
            Some(Some(delivery)) => deliveries.push(delivery?),
            _ => break,
        }
    }
    Ok(deliveries)
}

async fn feed_pod<F, Fut>(
    channel: &Channel,
    consumer: &mut Consumer,
    stop: &CancellationToken,
    handle: &mut F,
) -> anyhow::Result<()>
where
    F: FnMut(PodEvent) -> Fut + Send,
    Fut: Future<Output = ()> + Send,
{
    loop {
        let deliveries = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            deliveries = next_batch(consumer, limits::BATCH_EVENTS) => deliveries?,
        };
        let last = deliveries
            .last()
            .map_or(0, |delivery| delivery.delivery_tag);
        let mut events = Vec::new();
        for delivery in &deliveries {
            match decode(&delivery.data) {
                Ok(envelope) => events.extend(envelope.events),
                Err(error) => {
                    metrics::counter!(names::EVENTS_FAILED, "queue" => "pod").increment(1);
                    tracing::error!(error, "cannot read an event for this pod");
                }
            }
        }
        handle(PodEvent::Events(events.into())).await;
        channel
            .basic_ack(last, BasicAckOptions { multiple: true })
            .await?;
    }
}

async fn subscribe_pod(channel: &Channel, service: Service, pod: &str) -> anyhow::Result<Consumer> {
    // A name of its own each time: the broker may still hold the old one.
    let queue: ShortString = format!(
        "{}.{:08x}",
        topology::pod_queue(service, pod),
        rand::random::<u32>()
    )
    .into();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(20_000));
    arguments.insert("x-overflow".into(), text("drop-head"));
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.clone(), options, arguments)
        .await?;
    for (exchange, key) in topology::pod_bindings(service) {
        bind(channel, &queue, *exchange, key).await?;
    }
    channel.basic_qos(300, BasicQosOptions::default()).await?;
    Ok(channel
        .basic_consume(
            queue,
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?)
}

/// Declares every exchange, queue, dead-letter queue and binding.
pub async fn declare(channel: &Channel) -> lapin::Result<()> {
    for exchange in Exchange::ALL {
        let kind = match exchange {
            Exchange::User | Exchange::Message => ExchangeKind::Topic,
            Exchange::DeadLetter => ExchangeKind::Direct,
        };
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel
            .exchange_declare(exchange.name().into(), kind, options, FieldTable::default())
            .await?;
    }
    for queue in topology::queues() {
        declare_queue(channel, &queue).await?;
    }
    Ok(())
}

async fn declare_queue(channel: &Channel, queue: &Queue) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1_000_000));
    // Our consumers count tries and bury dead letters themselves: the broker
    // would need the right to read the queue from everybody who declares it,
    // and RabbitMQ 4 drops what was delivered 20 times unless told otherwise.
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(i32::MAX));
    if queue.single_active_consumer {
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    }
    channel
        .queue_declare(
            queue.name.as_str().into(),
            QueueDeclareOptions::durable(),
            arguments,
        )
        .await?;
    let name: ShortString = queue.name.as_str().into();
    for (exchange, key) in &queue.bindings {
        bind(channel, &name, *exchange, key).await?;
    }
    bind(channel, &name, Exchange::DeadLetter, &queue.replay_key()).await?;
    let dead: ShortString = queue.dead_letters().into();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    channel
        .queue_declare(dead.clone(), QueueDeclareOptions::durable(), arguments)
        .await?;
    bind(channel, &dead, Exchange::DeadLetter, &queue.name).await
}

async fn bind(
    channel: &Channel,
    queue: &ShortString,
    exchange: Exchange,
    key: &str,
) -> lapin::Result<()> {
    channel
        .queue_bind(
            queue.clone(),
            exchange.name().into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
}

/// Gives a body to the queue's dead-letter queue, and waits until it is safe there.
async fn bury(channel: &Channel, queue: &Queue, body: &[u8], reason: &str) -> anyhow::Result<()> {
    let mut headers = FieldTable::default();
    headers.insert("x-reason".into(), text(reason));
    headers.insert("x-queue".into(), text(&queue.name));
    let confirm = channel
        .basic_publish(
            Exchange::DeadLetter.name().into(),
            queue.name.as_str().into(),
            BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            },
            body,
            persistent().with_headers(headers),
        )
        .await?;
    let confirmation = timeout(ANSWER, confirm).await??;
    anyhow::ensure!(
        confirmation.is_ack() && confirmation.take_message().is_none(),
        "the dead-letter queue did not take the event"
    );
    metrics::counter!(names::DEAD_LETTERS, "queue" => queue.name.clone()).increment(1);
    tracing::error!(
        queue = queue.name,
        reason,
        "an event went to the dead-letter queue"
    );
    Ok(())
}

/// How often the broker delivered this before, by whichever count it keeps.
/// Without any count, a repeat is taken for the last one.
fn earlier_tries(delivery: &lapin::message::Delivery) -> i64 {
    let count = |name: &str| {
        let headers = delivery.properties.headers().as_ref()?;
        headers.inner().get(name)?.as_long_long_int()
    };
    count("x-delivery-count")
        .into_iter()
        .chain(count("x-acquired-count"))
        .max()
        .unwrap_or(if delivery.redelivered {
            limits::DELIVERY_TRIES
        } else {
            0
        })
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

/// Encodes events as one broker message.
fn encode(events: Vec<Recorded>) -> serde_json::Result<Bytes> {
    serde_json::to_vec(&Envelope::new(events)).map(Bytes::from)
}

/// 0.2 s doubling to 10 s, with jitter, for ever.
#[derive(Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    pub async fn wait(&mut self) {
        let ceiling = Duration::from_millis(200 << self.tries.min(6)).min(Duration::from_secs(10));
        self.tries += 1;
        tokio::time::sleep(ceiling.mul_f64(rand::random_range(0.5..1.0))).await;
    }
}
