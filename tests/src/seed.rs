//! A long conversation, faster than people may write: handed to the broker as
//! socket-handler would, and stored by messages as always.

use std::time::Duration;

use anyhow::{Context, ensure};
use chat_events::topology::Exchange;
use chat_events::{
    ClientId, ConversationId, Envelope, Event, MessageSent, Recorded, Service, limits,
};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};

use crate::{Chat, Person, await_until};

const PERSISTENT: u8 = 2;
const PATIENCE: Duration = Duration::from_secs(120);

impl Chat {
    /// Lets both write `count` messages in turn, and waits until all are stored.
    pub async fn write_history(
        &self,
        conversation_id: ConversationId,
        [ada, ben]: [&Person; 2],
        count: usize,
    ) -> anyhow::Result<()> {
        let events: Vec<_> = (1..=count)
            .map(|number| {
                Event::MessageSent(MessageSent {
                    conversation_id,
                    sender_id: if number % 3 == 0 { ben.id } else { ada.id },
                    client_id: ClientId::generate(),
                    content: text(number),
                })
            })
            .collect();
        self.publish(events).await?;
        await_until("the whole history", PATIENCE, async || {
            let seq = ada.conversation(conversation_id).await?["seq"].as_u64();
            Ok((seq >= Some(count as u64)).then_some(()))
        })
        .await
    }

    /// Hands events of one kind to the broker, in order, as socket-handler.
    pub async fn publish(&self, events: Vec<Event>) -> anyhow::Result<()> {
        let mut bodies = Vec::new();
        for batch in events.chunks(limits::BATCH_EVENTS) {
            let recorded = batch
                .iter()
                .cloned()
                .map(|event| Recorded::new(event, None));
            bodies.push(serde_json::to_vec(&Envelope::new(recorded.collect()))?);
        }
        let Some(first) = events.first() else {
            return Ok(());
        };
        self.publish_bodies(first.exchange(), first.routing_key().as_ref(), &bodies)
            .await
    }

    /// Hands anything at all to the broker, as socket-handler.
    pub async fn publish_bodies(
        &self,
        exchange: Exchange,
        routing_key: &str,
        bodies: &[Vec<u8>],
    ) -> anyhow::Result<()> {
        let env = self.cluster().env(Service::SocketHandler);
        let of = |name: &str| {
            let found = env.iter().find(|(known, _)| known == name);
            found
                .map(|(_, value)| value.as_str())
                .with_context(|| format!("no {name}"))
        };
        let url = format!(
            "amqp://{}:{}@{}:{}/{}",
            of("RMQ_USER")?,
            of("RMQ_PASSWORD")?,
            of("RMQ_HOST")?,
            of("RMQ_PORT")?,
            of("RMQ_VHOST")?
        );
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        for body in bodies {
            let confirmation = channel
                .basic_publish(
                    exchange.name().into(),
                    routing_key.into(),
                    BasicPublishOptions {
                        mandatory: true,
                        ..BasicPublishOptions::default()
                    },
                    body,
                    BasicProperties::default()
                        .with_content_type("application/json".into())
                        .with_delivery_mode(PERSISTENT),
                )
                .await?
                .await?;
            ensure!(
                matches!(confirmation, Confirmation::Ack(None)),
                "the broker did not take a body: {confirmation:?}"
            );
        }
        connection.close(0, "done".into()).await?;
        Ok(())
    }
}

/// Short and long ones, as people write.
fn text(number: usize) -> String {
    let words = "so we meet at the station and take the early train to the sea ";
    let length = number * 7919 % 240;
    let text: String = words.chars().cycle().take(length).collect();
    format!("{number}: {}", text.trim())
}
