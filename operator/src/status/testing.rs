//! An observation that has nothing wrong, for tests to spoil.

use super::{Component, Exposure, Observation, Problem};
use crate::crd::{BackingStoreStatus, ComponentStatus};

pub fn healthy() -> Observation {
    let component = |name: &str| Component {
        status: ComponentStatus {
            name: name.into(),
            desired: 2,
            ready: 2,
            updated: 2,
            image: format!("chat-{name}:1"),
        },
        settled: true,
        old: 0,
        queued: false,
        failure: None,
    };
    let store = |name: &str| BackingStoreStatus {
        name: name.into(),
        mode: "Managed".into(),
        ready: true,
        message: String::new(),
    };
    Observation {
        components: [
            "auth",
            "users",
            "messages",
            "notifications",
            "socket-handler",
            "web",
        ]
        .map(component)
        .into(),
        stores: ["postgres", "rabbitmq", "redis"].map(store).into(),
        exposure: Exposure {
            url: "https://chat.example.com".into(),
            by: Some("Ingress"),
            missing: None,
        },
        version: "1.0.0".into(),
        ..Observation::default()
    }
}

pub fn problem(reason: &str) -> Problem {
    Problem {
        reason: reason.into(),
        message: "because".into(),
    }
}
