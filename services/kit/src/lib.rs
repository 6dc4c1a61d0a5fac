//! What several services share: configuration, telemetry, the stores, identity,
//! errors, health, open sockets and shutdown. Nothing here knows a chat.

pub mod broker;
pub mod cache;
pub mod config;
pub mod dead_letters;
pub mod extract;
pub mod health;
pub mod identity;
pub mod metrics;
pub mod outbox;
pub mod pg;
pub mod planted;
pub mod presence;
mod problem;
pub mod server;
pub mod socket;
pub mod telemetry;
pub mod trace;

pub use problem::{FieldError, Problem, ProblemBody};
