//! What this service hears from the broker.

mod fan_out;
mod people;
mod stored;
mod telling;

use std::sync::Arc;
use std::time::Duration;

use chat_events::{Service, topology};
use chat_kit::broker::Broker;
use chat_kit::server::Process;
use tokio::time::{Instant, sleep_until};

use self::fan_out::FanOut;
use self::telling::Telling;
use crate::state::AppState;

/// Deliveries in one transaction; each carries up to 64 events.
const BATCH: usize = 32;
/// Batches of messages begin so far apart: what comes meanwhile costs little in the next
/// one, and much in one of its own. At rest nothing waits.
const APART: Duration = Duration::from_millis(25);

/// Starts all of them; they end with the process.
pub fn start(process: &Process, broker: &Broker, state: &AppState) {
    for queue in topology::queues() {
        if queue.owner != Service::Notifications {
            continue;
        }
        let (broker, state, stop) = (broker.clone(), state.clone(), process.stop.clone());
        process.spawn(async move {
            let messages = queue.name == "NOTIFICATIONS_SRV_MessageSentQueue";
            broker
                .consume(&queue, BATCH, &stop, |events| {
                    let state = state.clone();
                    async move {
                        if messages {
                            let next = Instant::now() + APART;
                            let handled = stored::handle(&state, &events).await;
                            sleep_until(next).await;
                            handled
                        } else {
                            people::handle(&state, &events).await
                        }
                    }
                })
                .await;
        });
    }
    let telling = Telling::new(state.clone());
    process.spawn(telling.clone().tell(process.stop.clone()));
    let fan_out = Arc::new(FanOut::new(state.clone(), telling));
    process.spawn(fan_out.clone().tell_people(process.stop.clone()));
    process.spawn(fan_out.follow(
        broker.clone(),
        process.http.pod_name.clone(),
        process.readiness.part_to_start("fan-out"),
        process.stop.clone(),
    ));
}
