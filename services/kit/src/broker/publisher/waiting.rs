//! What waits for the broker under one routing key.

use std::collections::VecDeque;

use chat_events::limits;
use jiff::Timestamp;

use super::Outgoing;
use crate::broker::Body;

#[derive(Default)]
pub struct Waiting {
    pub queue: VecDeque<Outgoing>,
    /// The events of the broker message under way.
    pub sent: Vec<Outgoing>,
    pub unrouted: u32,
}

impl Waiting {
    pub fn len(&self) -> usize {
        self.queue.len() + self.sent.len()
    }

    /// Moves what goes together from the queue to what is under way.
    pub fn next(&mut self) -> serde_json::Result<Option<Body>> {
        let mut body = Body::default();
        let now = Timestamp::now();
        while self.sent.len() < limits::BATCH_EVENTS && body.len() < limits::BATCH {
            let Some(outgoing) = self.queue.pop_front() else {
                break;
            };
            if !outgoing.is_stale(now) {
                body.push(&outgoing.event)?;
                self.sent.push(outgoing);
            }
        }
        Ok((!self.sent.is_empty()).then_some(body))
    }
}
