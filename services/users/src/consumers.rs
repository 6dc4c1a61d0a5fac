//! What the service hears from the broker, one file per kind of event.

use chat_events::{Recorded, topology};
use chat_kit::broker::{Broker, HandleError};
use chat_kit::server::Process;

use crate::presence::Presence;

mod hints;
mod registration;
mod visits;

/// Deliveries in one transaction; each carries up to 64 events.
const BATCH: usize = 16;

/// Starts all of them; they end with the process.
pub fn start(process: &Process, broker: &Broker, presence: &Presence) {
    for queue in topology::queues() {
        if queue.owner != process.service {
            continue;
        }
        let (broker, presence, stop) = (broker.clone(), presence.clone(), process.stop.clone());
        process.spawn(async move {
            let name = queue.name.as_str();
            broker
                .consume(&queue, BATCH, &stop, |events| {
                    let presence = presence.clone();
                    async move { handle(name, &presence, &events).await }
                })
                .await;
        });
    }
}

async fn handle(queue: &str, presence: &Presence, events: &[Recorded]) -> Result<(), HandleError> {
    match queue {
        "UserRegistrationQueue" => registration::handle(presence, events).await,
        "UserLoginQueue" | "UserSignoutQueue" => visits::handle(presence, events).await,
        "USERS_SRV_PresenceQueue" => hints::handle(presence, events).await,
        _ => Err(HandleError::Failed(anyhow::anyhow!(
            "nobody handles {queue}"
        ))),
    }
}

/// An event that has no business in its queue.
fn stray(event: &Recorded) -> HandleError {
    HandleError::Failed(anyhow::anyhow!(
        "{} does not belong here",
        event.event.routing_key()
    ))
}
