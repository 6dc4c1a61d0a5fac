use super::build;
use crate::build::fixture::{assert_built, chat};
use crate::resources::Resources;
use crate::validate::{Postgres, Rabbitmq, Validated};

fn delegated(replicas: i32) -> Validated {
    let mut chat = chat();
    chat.postgres = Postgres::Delegated {
        instances: 3,
        storage: "20Gi".into(),
        image: None,
        ready: true,
    };
    chat.rabbitmq = Rabbitmq::Delegated {
        replicas,
        storage: "10Gi".into(),
        ready: true,
    };
    chat
}

#[test]
fn other_operators_get_the_fewest_fields() {
    let mut out = Resources::default();
    build(&delegated(3), &mut out);
    assert_built(&out, "delegated");
}

#[test]
fn a_stopped_chat_stops_them_too() {
    let mut chat = delegated(1);
    chat.stopped = true;
    let mut out = Resources::default();
    build(&chat, &mut out);
    assert_built(&out, "delegated-stopped");
}

#[test]
fn stores_of_our_own_are_not_delegated() {
    let mut out = Resources::default();
    build(&chat(), &mut out);
    assert!(out.foreign.is_empty() && out.secrets.is_empty());
}
