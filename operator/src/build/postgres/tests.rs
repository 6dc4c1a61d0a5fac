use jiff::Timestamp;

use super::build;
use crate::build::fixture::{assert_built, chat, managed};
use crate::build::{rabbitmq, redis};
use crate::crd::{Toleration, TopologySpread};
use crate::resources::Resources;
use crate::validate::{Postgres, Validated};

#[test]
fn a_managed_postgres() {
    let mut out = Resources::default();
    build(&chat(), &mut out);
    assert_built(&out, "postgres");
}

#[test]
fn scheduling_and_data_are_as_wished() {
    let mut chat = chat();
    chat.delete_data = true;
    chat.stopped = true;
    chat.pull_secrets = vec!["registry".into()];
    chat.scheduling.node_selector = [("disk".to_owned(), "ssd".to_owned())].into();
    chat.scheduling.tolerations = vec![Toleration {
        key: "stores".into(),
        operator: "Exists".into(),
        ..Toleration::default()
    }];
    chat.scheduling.priority_class_name = "high".into();
    chat.scheduling.topology_spread = TopologySpread::Disabled;
    let mut wished = managed("registry.example.com/postgres@sha256:0", 1);
    wished.storage_class = Some("fast".into());
    chat.postgres = Postgres::Managed(wished);
    let mut out = Resources::default();
    build(&chat, &mut out);
    assert_built(&out, "postgres-scheduled");
}

#[test]
fn another_login_makes_no_other_pod_and_another_superuser_does() {
    let built = |chat: &Validated| {
        let mut out = Resources::default();
        for build in [build, rabbitmq::build, redis::build] {
            build(chat, &mut out);
        }
        out
    };
    let asked = Some("1");
    let mut rotating = chat();
    rotating.credentials = rotating
        .credentials
        .with_new_passwords(asked, None, Timestamp::UNIX_EPOCH)
        .expect("random numbers");
    let (before, after) = (built(&chat()), built(&rotating));
    assert_eq!(before.stateful_sets, after.stateful_sets);
    assert_eq!(before.config_maps, after.config_maps);
    for (before, after) in before.secrets.iter().zip(&after.secrets) {
        assert_ne!(before, after);
    }
    let mut other = chat();
    other.credentials.postgres = "other".into();
    assert_ne!(before.stateful_sets, built(&other).stateful_sets);
}
