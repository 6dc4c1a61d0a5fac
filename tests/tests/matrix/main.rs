//! The failure matrix: what each component may do to us, one named test a row, in one
//! file a component. `docs/reliability.md` says which test proves which row. Rows that
//! take minutes begin with `long_`, and are run by `cargo xtask test --only matrix`.

mod auth;
mod client_link;
mod clock;
mod messages;
mod notifications;
mod outbox_relay;
mod postgres;
mod proxy;
mod rabbitmq;
mod rabbitmq_cluster;
mod recorded;
mod redis;
mod socket_handler;
mod users;
