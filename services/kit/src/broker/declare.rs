//! Exchanges, queues and bindings, as `chat_events::topology` names them.

use chat_events::Service;
use chat_events::topology::{self, Exchange, Queue};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::text;

/// Declares every exchange, queue, dead-letter queue and binding.
pub async fn declare(channel: &Channel) -> lapin::Result<()> {
    declare_exchanges(channel).await?;
    for queue in topology::queues() {
        declare_queue(channel, &queue).await?;
    }
    Ok(())
}

pub(super) async fn declare_exchanges(channel: &Channel) -> lapin::Result<()> {
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
    Ok(())
}

pub(super) async fn declare_queue(channel: &Channel, queue: &Queue) -> lapin::Result<()> {
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

/// Declares a queue for this pod alone, and returns its name.
pub(super) async fn declare_pod_queue(
    channel: &Channel,
    service: Service,
    pod: &str,
) -> lapin::Result<ShortString> {
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
    bind_pod_queue(channel, service, &queue).await?;
    Ok(queue)
}

pub(super) async fn bind_pod_queue(
    channel: &Channel,
    service: Service,
    queue: &ShortString,
) -> lapin::Result<()> {
    for (exchange, key) in topology::pod_bindings(service) {
        bind(channel, queue, *exchange, key).await?;
    }
    Ok(())
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
