//! `dead-letters list|replay`: what could not be handled is looked at, and put
//! back when its cause is mended.

use std::io::Write;

use chat_events::Service;
use chat_events::topology::{self, Exchange};
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::AMQPValue;

use crate::broker::Broker;
use crate::config::{DeadLetterAction, DeadLetterArgs};
use crate::health::Readiness;

/// Handles every dead-letter queue of the service; prints one line per letter.
pub async fn run(service: Service, args: &DeadLetterArgs) -> anyhow::Result<()> {
    let name = format!("{} dead letters", service.name());
    let broker = Broker::new(&args.broker, name, Readiness::default().part("broker"));
    let channel = broker.channel().await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut out = std::io::stdout();
    let mut count = 0;
    for queue in topology::queues() {
        if queue.owner != service {
            continue;
        }
        let options = BasicGetOptions { no_ack: false };
        // Letters that are only listed go back when the channel closes.
        while let Some(letter) = channel
            .basic_get(queue.dead_letters().into(), options)
            .await?
        {
            count += 1;
            let reason = letter
                .properties
                .headers()
                .as_ref()
                .and_then(|headers| headers.inner().get("x-reason"))
                .map_or("tried too often", |value| match value {
                    AMQPValue::LongString(text) => {
                        std::str::from_utf8(text.as_bytes()).unwrap_or("unreadable reason")
                    }
                    _ => "unreadable reason",
                })
                .to_owned();
            let body = String::from_utf8_lossy(&letter.data).into_owned();
            writeln!(out, "{}\t{reason}\t{body}", queue.name)?;
            if matches!(args.action, DeadLetterAction::Replay) {
                let confirm = channel
                    .basic_publish(
                        Exchange::DeadLetter.name().into(),
                        queue.replay_key().into(),
                        BasicPublishOptions {
                            mandatory: true,
                            ..BasicPublishOptions::default()
                        },
                        &letter.data,
                        letter.properties.clone(),
                    )
                    .await?
                    .await?;
                anyhow::ensure!(
                    confirm.is_ack() && confirm.take_message().is_none(),
                    "the queue {} did not take the letter back",
                    queue.name
                );
                letter.ack(BasicAckOptions::default()).await?;
            }
        }
    }
    let done = match args.action {
        DeadLetterAction::List => "found",
        DeadLetterAction::Replay => "replayed",
    };
    writeln!(out, "{count} dead letters {done}")?;
    channel.close(200, "done".into()).await?;
    Ok(())
}
