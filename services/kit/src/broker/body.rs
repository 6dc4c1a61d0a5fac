//! An [`Envelope`] that is written event by event, so that its size is known before the
//! next event is added.

use chat_events::{Envelope, Recorded};

/// The body of one broker message.
#[derive(Default)]
pub(super) struct Body(Vec<u8>);

impl Body {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn push(&mut self, event: &Recorded) -> serde_json::Result<()> {
        if self.0.is_empty() {
            self.0 = format!(r#"{{"v":{},"events":["#, Envelope::VERSION).into_bytes();
        } else {
            self.0.push(b',');
        }
        serde_json::to_writer(&mut self.0, event)
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend(b"]}");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use chat_events::{Envelope, Event, Recorded, UserId};

    use super::Body;

    #[test]
    fn a_body_that_grew_event_by_event_is_the_envelope_of_all() {
        let events: Vec<Recorded> = (0..3)
            .map(|_| {
                let user_id = UserId::generate();
                Recorded::new(Event::UserDeleted { user_id }, None)
            })
            .collect();
        for count in 1..=events.len() {
            let mut body = Body::default();
            for event in &events[..count] {
                body.push(event).expect("an event is JSON");
            }
            let whole = serde_json::to_vec(&Envelope::new(events[..count].to_vec()));
            assert_eq!(body.finish(), whole.expect("an envelope is JSON"));
        }
    }
}
