//! What a client knows of one conversation: the reducer over its log.

use std::collections::{BTreeMap, HashMap};

use chat_events::{ClientId, LogEvent, MessageView, UserId};

/// The log of a conversation as far as it is known. Events may come in any
/// order and more than once; what is shown grows only at its end.
#[derive(Debug, Default)]
pub struct Log {
    events: BTreeMap<i64, LogEvent>,
    /// Everything up to here is known.
    top: i64,
    /// The highest number that was heard of.
    heard: i64,
    /// Events that came again: a cost, not a fault.
    pub repeats: u64,
    by_client_id: HashMap<(UserId, ClientId), i64>,
    /// Broken promises: they must stay empty.
    pub violations: Vec<String>,
}

impl Log {
    pub fn apply(&mut self, event: LogEvent) {
        let seq = event.seq();
        self.hear_of(seq);
        if let Some(known) = self.events.get(&seq) {
            self.repeats += 1;
            if *known != event {
                self.violations
                    .push(format!("two events have number {seq}: {known:?} {event:?}"));
            }
            return;
        }
        if let LogEvent::Message { message, .. } = &event {
            let key = (message.sender_id, message.client_id);
            if let Some(first) = self.by_client_id.insert(key, seq) {
                self.violations
                    .push(format!("one message has numbers {first} and {seq}"));
            }
        }
        self.events.insert(seq, event);
        while self.events.contains_key(&(self.top + 1)) {
            self.top += 1;
        }
    }

    /// Nothing is known any more, but for what was wrong.
    pub fn forget(&mut self) {
        *self = Self {
            repeats: self.repeats,
            violations: std::mem::take(&mut self.violations),
            ..Self::default()
        };
    }

    /// Notes that the log goes at least to `seq`.
    pub fn hear_of(&mut self, seq: i64) {
        self.heard = self.heard.max(seq);
    }

    /// The last event before a hole, if there is one.
    pub fn hole(&self) -> Option<i64> {
        (self.heard > self.top).then_some(self.top)
    }

    pub const fn top(&self) -> i64 {
        self.top
    }

    /// Everything up to the first hole.
    pub fn events(&self) -> impl Iterator<Item = &LogEvent> {
        self.events.range(..=self.top).map(|(_, event)| event)
    }

    /// What follows `seq`, up to the first hole.
    pub fn after(&self, seq: i64) -> impl Iterator<Item = &LogEvent> {
        let rest = self.events.range(seq.min(self.top) + 1..self.top + 1);
        rest.map(|(_, event)| event)
    }

    pub fn messages(&self) -> impl Iterator<Item = &MessageView> {
        self.events().filter_map(|event| match event {
            LogEvent::Message { message, .. } => Some(message),
            LogEvent::Read { .. } => None,
        })
    }

    /// The texts in their order.
    pub fn texts(&self) -> Vec<String> {
        self.messages()
            .map(|message| message.content.clone())
            .collect()
    }

    /// How far `user` has read.
    pub fn read_up_to(&self, user: UserId) -> i64 {
        self.events()
            .filter_map(|event| match event {
                LogEvent::Read { user_id, up_to, .. } if *user_id == user => Some(*up_to),
                _ => None,
            })
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use chat_events::{ClientId, ConversationId, LogEvent, MessageId, MessageView, UserId};
    use jiff::Timestamp;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use uuid::Uuid;

    use super::Log;

    fn message(seq: i64, client: u128) -> LogEvent {
        let conversation_id = ConversationId(Uuid::from_u128(1));
        LogEvent::Message {
            conversation_id,
            seq,
            message: MessageView {
                id: MessageId(Uuid::from_u128(client)),
                conversation_id,
                seq,
                sender_id: UserId(Uuid::from_u128(2)),
                client_id: ClientId(Uuid::from_u128(client)),
                content: format!("message {seq}"),
                created_at: Timestamp::UNIX_EPOCH,
            },
        }
    }

    proptest! {
        #[test]
        fn any_order_with_repeats_gives_the_same_view(
            picks in prop::collection::vec(any::<Index>(), 0..60),
            length in 1_i64..20,
        ) {
            let mut log = Log::default();
            for pick in picks {
                let seq = pick.index(length as usize) as i64 + 1;
                log.apply(message(seq, seq as u128));
            }
            for seq in (1..=length).rev() {
                log.apply(message(seq, seq as u128));
            }
            let expected: Vec<_> = (1..=length).map(|seq| format!("message {seq}")).collect();
            prop_assert_eq!(log.texts(), expected);
            prop_assert_eq!(log.hole(), None);
            prop_assert!(log.violations.is_empty());
        }
    }

    #[test]
    fn nothing_after_a_hole_is_shown() {
        let mut log = Log::default();
        log.apply(message(1, 1));
        log.apply(message(3, 3));
        assert_eq!(log.texts(), ["message 1"]);
        assert_eq!(log.hole(), Some(1));
        log.apply(message(2, 2));
        assert_eq!(log.texts().len(), 3);
    }

    #[test]
    fn a_lost_last_event_is_a_hole_as_soon_as_it_is_heard_of() {
        let mut log = Log::default();
        log.apply(message(1, 1));
        log.hear_of(2);
        assert_eq!(log.hole(), Some(1));
    }

    #[test]
    fn one_message_at_two_places_is_a_violation() {
        let mut log = Log::default();
        log.apply(message(1, 1));
        log.apply(message(2, 1));
        assert_eq!(log.violations.len(), 1);
    }

    #[test]
    fn two_messages_at_one_place_are_a_violation() {
        let mut log = Log::default();
        log.apply(message(1, 1));
        log.apply(message(1, 2));
        assert_eq!(log.violations.len(), 1);
    }
}
