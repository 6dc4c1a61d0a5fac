//! Exchanges, queues, bindings and rights on the broker: declared from this
//! one table by every service, valid on RabbitMQ 3.10 and 4.x.

use std::fmt;

use jiff::SignedDuration;
use uuid::Uuid;

use crate::limits::{PARTITIONS, TYPING_INTERVAL};
use crate::{Event, Service};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exchange {
    User,
    Message,
    /// Takes what failed too often, by the name of its queue, and leads it back
    /// by the queue's replay key.
    DeadLetter,
}

impl Exchange {
    pub const ALL: [Self; 3] = [Self::User, Self::Message, Self::DeadLetter];

    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "UserEventsExchange",
            Self::Message => "MessageEventsExchange",
            Self::DeadLetter => "DeadLetterExchange",
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A durable quorum queue of one service. Each has a dead-letter queue
/// `{name}.dead`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub name: String,
    pub owner: Service,
    pub bindings: Vec<(Exchange, String)>,
    /// One consumer at a time, so that two never receive at once.
    pub single_active_consumer: bool,
}

impl Queue {
    pub fn dead_letters(&self) -> String {
        format!("{}.dead", self.name)
    }

    /// Leads from [`Exchange::DeadLetter`] back into the queue.
    pub fn replay_key(&self) -> String {
        format!("replay.{}", self.name)
    }
}

/// Every durable queue. A publisher declares them too, so that an event that is
/// published before its consumer first starts is kept.
pub fn queues() -> Vec<Queue> {
    let user = |name: &str, owner, keys: &[&str]| Queue {
        name: name.into(),
        owner,
        bindings: keys
            .iter()
            .map(|key| (Exchange::User, (*key).to_owned()))
            .collect(),
        single_active_consumer: false,
    };
    let mut queues = vec![
        user("AUTH_SRV_UserQueue", Service::Auth, &["user.updated"]),
        user(
            "UserRegistrationQueue",
            Service::Users,
            &["user.registered", "user.deleted"],
        ),
        user("UserLoginQueue", Service::Users, &["user.logged.in"]),
        user("UserSignoutQueue", Service::Users, &["user.signed.out"]),
        user(
            "USERS_SRV_PresenceQueue",
            Service::Users,
            &["presence.hint"],
        ),
        user(
            "MESSAGES_SRV_UserQueue",
            Service::Messages,
            &["user.registered", "user.updated", "user.deleted"],
        ),
        user(
            "NOTIFICATIONS_SRV_UserQueue",
            Service::Notifications,
            &[
                "user.registered",
                "user.updated",
                "user.deleted",
                "user.online",
                "user.offline",
            ],
        ),
        Queue {
            name: "NOTIFICATIONS_SRV_MessageSentQueue".into(),
            owner: Service::Notifications,
            bindings: vec![(Exchange::Message, "message.stored".into())],
            single_active_consumer: true,
        },
    ];
    queues.extend((0..PARTITIONS).map(partition_queue));
    queues
}

/// The queue in which the sends and reads of a partition wait for messages.
pub fn partition_queue(partition: u16) -> Queue {
    Queue {
        name: format!("MESSAGES_SRV_MessageSentQueue.{partition}"),
        owner: Service::Messages,
        bindings: vec![
            (Exchange::Message, format!("message.sent.{partition}")),
            (Exchange::Message, format!("message.read.{partition}")),
        ],
        single_active_consumer: true,
    }
}

/// Which partition a conversation belongs to. Never changes for a conversation.
pub fn partition(conversation: crate::ConversationId) -> u16 {
    // The last bytes of a version 7 UUID are random.
    let bytes = Uuid::into_bytes(conversation.0);
    u16::from_be_bytes([bytes[14], bytes[15]]) % PARTITIONS
}

/// What a pod hears in its own exclusive queue, which dies with its connection.
pub fn pod_bindings(service: Service) -> &'static [(Exchange, &'static str)] {
    match service {
        Service::SocketHandler => &[
            (Exchange::Message, "message.stored"),
            (Exchange::Message, "message.refused"),
            (Exchange::Message, "conversation.created"),
            (Exchange::Message, "typing"),
            (Exchange::User, "session.revoked"),
        ],
        Service::Notifications => &[
            (Exchange::Message, "notice"),
            (Exchange::Message, "noticed"),
            (Exchange::User, "user.online"),
            (Exchange::User, "user.offline"),
            (Exchange::User, "user.updated"),
            (Exchange::User, "session.revoked"),
        ],
        Service::Auth | Service::Users | Service::Messages => {
            &[(Exchange::User, "session.revoked")]
        }
    }
}

/// The name of a pod's own queue.
pub fn pod_queue(service: Service, pod: &str) -> String {
    format!("{}.pod.{pod}", service.name())
}

/// RabbitMQ permission patterns of a service: configure, write, read. Everybody
/// declares the whole topology; only owners read their queues, and only
/// publishers write to an exchange.
pub fn permissions(service: Service) -> [String; 3] {
    let own_pod = format!("{}\\.pod\\..*", service.name());
    let durable =
        "(User|Message|DeadLetter)[A-Za-z]*Exchange|[A-Za-z_]+Queue(\\.[0-9]+)?(\\.dead)?";
    let own = queues()
        .into_iter()
        .filter(|queue| queue.owner == service && !queue.name.contains('.'))
        .map(|queue| queue.name)
        .chain(
            (service == Service::Messages).then(|| "MESSAGES_SRV_MessageSentQueue\\.[0-9]+".into()),
        )
        .map(|name| format!("{name}(\\.dead)?"))
        .chain([own_pod.clone()])
        .collect::<Vec<_>>()
        .join("|");
    [
        format!("^({durable}|{own_pod})$"),
        // Binding a queue needs the right to write to it.
        format!("^({durable}|{own_pod})$"),
        // … and the right to read the exchange.
        format!("^((User|Message|DeadLetter)[A-Za-z]*Exchange|{own})$"),
    ]
}

impl Event {
    pub const fn exchange(&self) -> Exchange {
        match self {
            Self::UserRegistered(_)
            | Self::UserUpdated(_)
            | Self::UserDeleted { .. }
            | Self::UserLoggedIn { .. }
            | Self::UserSignedOut { .. }
            | Self::SessionRevoked(_)
            | Self::UserOnline(_)
            | Self::UserOffline(_)
            | Self::PresenceHint { .. } => Exchange::User,
            Self::MessageSent(_)
            | Self::MessageRead(_)
            | Self::MessageStored { .. }
            | Self::MessageRefused(_)
            | Self::ConversationCreated(_)
            | Self::Typing(_)
            | Self::Notice(_)
            | Self::Noticed(_) => Exchange::Message,
        }
    }

    pub fn routing_key(&self) -> String {
        match self {
            Self::UserRegistered(_) => "user.registered".into(),
            Self::UserUpdated(_) => "user.updated".into(),
            Self::UserDeleted { .. } => "user.deleted".into(),
            Self::UserLoggedIn { .. } => "user.logged.in".into(),
            Self::UserSignedOut { .. } => "user.signed.out".into(),
            Self::SessionRevoked(_) => "session.revoked".into(),
            Self::UserOnline(_) => "user.online".into(),
            Self::UserOffline(_) => "user.offline".into(),
            Self::PresenceHint { .. } => "presence.hint".into(),
            Self::MessageSent(sent) => format!("message.sent.{}", partition(sent.conversation_id)),
            Self::MessageRead(read) => format!("message.read.{}", partition(read.conversation_id)),
            Self::MessageStored { .. } => "message.stored".into(),
            Self::MessageRefused(_) => "message.refused".into(),
            Self::ConversationCreated(_) => "conversation.created".into(),
            Self::Typing(_) => "typing".into(),
            Self::Notice(_) => "notice".into(),
            Self::Noticed(_) => "noticed".into(),
        }
    }

    /// Hints may die with the broker and may reach nobody.
    pub const fn is_hint(&self) -> bool {
        matches!(self, Self::Typing(_) | Self::PresenceHint { .. })
    }

    /// How long after it happened the event may still be told, when there is an end to
    /// that: whoever types on says so again.
    pub const fn is_true_for(&self) -> Option<SignedDuration> {
        match self {
            Self::Typing(_) => Some(SignedDuration::from_secs(TYPING_INTERVAL.as_secs() as i64)),
            _ => None,
        }
    }

    /// Whether a broker with no queue for the event is a fault. Events for pods
    /// alone are not routed while no pod runs.
    pub const fn must_be_routed(&self) -> bool {
        !matches!(
            self,
            Self::SessionRevoked(_)
                | Self::MessageRefused(_)
                | Self::ConversationCreated(_)
                | Self::Typing(_)
                | Self::Notice(_)
                | Self::Noticed(_)
                | Self::PresenceHint { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{partition, permissions, pod_queue, queues};
    use crate::limits::PARTITIONS;
    use crate::{ConversationId, Service};

    #[test]
    fn no_two_queues_share_a_name() {
        let names: HashSet<_> = queues().into_iter().map(|queue| queue.name).collect();
        assert_eq!(names.len(), queues().len());
    }

    #[test]
    fn conversations_spread_over_all_partitions() {
        let used: HashSet<_> = (0..1_000)
            .map(|_| partition(ConversationId::generate()))
            .collect();
        assert_eq!(used.len(), usize::from(PARTITIONS));
    }

    #[test]
    fn patterns_are_anchored_and_name_the_own_pod_queues() {
        for service in Service::ALL {
            for pattern in permissions(service) {
                assert!(pattern.starts_with("^(") && pattern.ends_with(")$"));
            }
            let pod = pod_queue(service, "a");
            assert!(pod.starts_with(service.name()));
        }
    }
}
