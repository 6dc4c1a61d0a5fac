//! Exchanges, queues and bindings, as `chat_events::topology` names them.

use chat_events::Service;
use chat_events::topology::{self, Exchange, Queue};
use futures::future::{try_join, try_join_all, try_join4};
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::text;

/// Declares every exchange, queue, dead-letter queue and binding. Nothing waits for the
/// answer to what was sent before it: the broker does one after the other.
pub async fn declare(channel: &Channel) -> lapin::Result<()> {
    declare_exchanges(channel).await?;
    let queues = topology::queues();
    try_join_all(queues.iter().map(|queue| declare_queue(channel, queue))).await?;
    Ok(())
}

pub(super) async fn declare_exchanges(channel: &Channel) -> lapin::Result<()> {
    let declared = Exchange::ALL.map(|exchange| {
        let kind = match exchange {
            Exchange::User | Exchange::Message => ExchangeKind::Topic,
            Exchange::DeadLetter => ExchangeKind::Direct,
        };
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        channel.exchange_declare(exchange.name().into(), kind, options, FieldTable::default())
    });
    try_join_all(declared).await?;
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
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), text("quorum"));
    let (name, dead): (ShortString, ShortString) =
        (queue.name.as_str().into(), queue.dead_letters().into());
    let replay = (Exchange::DeadLetter, queue.replay_key());
    let bindings = queue.bindings.iter().chain([&replay]);
    // In this order on the wire: the first poll of each sends it.
    try_join4(
        channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments),
        try_join_all(bindings.map(|(exchange, key)| bind(channel, &name, *exchange, key))),
        channel.queue_declare(dead.clone(), QueueDeclareOptions::durable(), quorum),
        bind(channel, &dead, Exchange::DeadLetter, &queue.name),
    )
    .await?;
    Ok(())
}

/// The queue of one pod alone.
pub(super) struct PodQueue {
    pub service: Service,
    pub name: ShortString,
    /// Keeps the last event that fell out of the queue when it was full.
    pub overflow: ShortString,
}

impl PodQueue {
    /// With a name of its own each time: the broker may still hold the old one.
    pub fn new(service: Service, pod: &str) -> Self {
        let pod = topology::pod_queue(service, pod);
        let name = format!("{pod}.{:08x}", rand::random::<u32>());
        Self {
            service,
            overflow: format!("{name}.overflow").into(),
            name: name.into(),
        }
    }

    pub async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let mut one = FieldTable::default();
        one.insert("x-max-length".into(), AMQPValue::LongInt(1));
        // Nobody consumes it: it is looked into, and goes when nobody does any more.
        one.insert("x-expires".into(), AMQPValue::LongInt(60_000));
        channel
            .queue_declare(self.overflow.clone(), exclusive, one)
            .await?;

        let mut bounded = FieldTable::default();
        bounded.insert("x-max-length".into(), AMQPValue::LongInt(20_000));
        bounded.insert("x-max-length-bytes".into(), AMQPValue::LongInt(256 << 20));
        bounded.insert("x-overflow".into(), text("drop-head"));
        bounded.insert(
            "x-dead-letter-exchange".into(),
            text(Exchange::DeadLetter.name()),
        );
        bounded.insert(
            "x-dead-letter-routing-key".into(),
            text(self.overflow.as_str()),
        );
        let options = QueueDeclareOptions {
            auto_delete: true,
            ..exclusive
        };
        channel
            .queue_declare(self.name.clone(), options, bounded)
            .await?;
        self.bind(channel).await
    }

    pub async fn bind(&self, channel: &Channel) -> lapin::Result<()> {
        let bindings = topology::pod_bindings(self.service).iter();
        let overflow = self.overflow.as_str();
        try_join(
            try_join_all(bindings.map(|(exchange, key)| bind(channel, &self.name, *exchange, key))),
            bind(channel, &self.overflow, Exchange::DeadLetter, overflow),
        )
        .await?;
        Ok(())
    }

    /// Whether events have fallen out of the full queue since the last look.
    pub async fn has_overflowed(&self, channel: &Channel) -> lapin::Result<bool> {
        let options = BasicGetOptions { no_ack: true };
        let last = channel.basic_get(self.overflow.clone(), options).await?;
        Ok(last.is_some())
    }
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
