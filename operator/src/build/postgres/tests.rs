use super::build;
use crate::build::fixture::{assert_built, chat, managed};
use crate::crd::{Toleration, TopologySpread};
use crate::resources::Resources;
use crate::validate::Postgres;

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
fn another_password_makes_another_pod_and_the_same_does_not() {
    let content = |chat| {
        let mut out = Resources::default();
        build(&chat, &mut out);
        let spec = out.stateful_sets.remove(0).spec.expect("a spec");
        spec.template.metadata.expect("metadata").annotations
    };
    let mut changed = chat();
    changed
        .credentials
        .services
        .insert("users".into(), "new".into());
    assert_eq!(content(chat()), content(chat()));
    assert_ne!(content(chat()), content(changed));
}
