//! A quorum queue of its own, on the same broker.

use std::time::Instant;

use chat_e2e::load::usage::{Parts, Spent};
use chat_local::{ADMIN, Stores};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use reqwest::Method;

use super::{Floor, LENGTH};

const QUEUE: &str = "floor";
const EVENT: usize = 300;
const BATCH: usize = 32;
/// A consumer says that it has so many at once.
const ACK: u64 = 50;

struct Shape {
    in_flight: usize,
    body: usize,
}

/// Each message waits for the confirm of the one before.
pub async fn one(stores: &Stores) -> anyhow::Result<Floor> {
    let shape = Shape {
        in_flight: 1,
        body: EVENT,
    };
    let (spent, count) = flow(stores, &shape).await?;
    Ok(Floor::of_store("amqp-one", "message", &spent, count))
}

pub async fn many(stores: &Stores) -> anyhow::Result<Floor> {
    let shape = Shape {
        in_flight: 1_000,
        body: EVENT,
    };
    let (spent, count) = flow(stores, &shape).await?;
    Ok(Floor::of_store("amqp-many", "message", &spent, count))
}

/// Thirty-two events in a message, twenty messages under way.
pub async fn batches(stores: &Stores) -> anyhow::Result<Floor> {
    let shape = Shape {
        in_flight: 20,
        body: BATCH * EVENT,
    };
    let (spent, count) = flow(stores, &shape).await?;
    let events = count * BATCH as f64;
    Ok(Floor::of_store("amqp-batch", "event", &spent, events))
}

/// Published with confirms and consumed with acknowledgements; how many, and what it took.
async fn flow(stores: &Stores, shape: &Shape) -> anyhow::Result<(Spent, f64)> {
    let handle = stores.handle();
    let (port, password) = (handle.rabbitmq_port, &handle.password);
    let address = format!("amqp://{ADMIN}:{password}@127.0.0.1:{port}/%2f");
    let connection = Connection::connect(&address, ConnectionProperties::default()).await?;
    let (publisher, consumer) = (
        connection.create_channel().await?,
        connection.create_channel().await?,
    );
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut quorum = FieldTable::default();
    quorum.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    publisher
        .queue_declare(QUEUE.into(), durable, quorum)
        .await?;
    publisher
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    consumer
        .basic_qos(1_000, BasicQosOptions::default())
        .await?;
    let mut deliveries = consumer
        .basic_consume(
            QUEUE.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let parts = Parts::of_stores(stores).await?;
    let before = parts.read()?;
    let until = Instant::now() + LENGTH;
    let consume = async {
        let mut count = 0;
        while let Some(delivery) = deliveries.next().await {
            let delivery = delivery?;
            count += 1;
            if delivery.delivery_tag % ACK == 0 {
                let all = BasicAckOptions { multiple: true };
                consumer.basic_ack(delivery.delivery_tag, all).await?;
            }
        }
        anyhow::Ok(count)
    };
    let count = tokio::select! {
        published = publish(&publisher, shape, until) => published?,
        consumed = consume => anyhow::bail!("the consumer ended after {:?}", consumed),
    };
    let spent = before.until(&parts.read()?);
    connection.close(200, "done".into()).await?;
    // A consumer that is cancelled while its queue goes confuses its channel.
    drop(deliveries);
    let queue = format!("queues/%2f/{QUEUE}");
    handle.rabbitmq_api(Method::DELETE, &queue, None).await?;
    Ok((spent, count))
}

async fn publish(channel: &Channel, shape: &Shape, until: Instant) -> anyhow::Result<f64> {
    let body = vec![b'x'; shape.body];
    let mut under_way = FuturesUnordered::new();
    let mut count = 0.0;
    while Instant::now() < until {
        while under_way.len() < shape.in_flight {
            let confirm = channel
                .basic_publish(
                    "".into(),
                    QUEUE.into(),
                    BasicPublishOptions::default(),
                    &body,
                    BasicProperties::default().with_delivery_mode(2),
                )
                .await?;
            under_way.push(confirm);
            count += 1.0;
        }
        if let Some(confirm) = under_way.next().await {
            anyhow::ensure!(confirm?.is_ack(), "not confirmed");
        }
    }
    while let Some(confirm) = under_way.next().await {
        anyhow::ensure!(confirm?.is_ack(), "not confirmed");
    }
    Ok(count)
}
