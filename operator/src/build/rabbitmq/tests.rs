use super::{build, logins, password_hash, salt};
use crate::build::fixture::{assert_built, chat, managed};
use crate::resources::Resources;
use crate::validate::Rabbitmq;

#[test]
fn one_node() {
    let mut out = Resources::default();
    build(&chat(), &mut out);
    assert_built(&out, "rabbitmq");
}

#[test]
fn three_nodes_know_each_other_and_leave_one_by_one() {
    let mut chat = chat();
    chat.rabbitmq = Rabbitmq::Managed(managed("rabbitmq:4", 3));
    let mut out = Resources::default();
    build(&chat, &mut out);
    assert_built(&out, "rabbitmq-3");
}

#[test]
fn a_password_is_hashed_as_rabbitmq_does_it() {
    // The example of RabbitMQ's manual.
    assert_eq!(
        password_hash([0x90, 0x8d, 0xc6, 0x0a], "test12"),
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    );
    assert_eq!(salt("demo_auth"), salt("demo_auth"));
    assert_ne!(salt("demo_auth"), salt("demo_users"));
}

#[test]
fn definitions_hold_no_password() {
    let files = logins(&chat());
    assert_eq!(files.len(), 2);
    for (name, content) in files {
        assert!(!content.contains("password-of"), "{name}: {content}");
    }
}
