//! What three or more services share: configuration, telemetry, the stores,
//! identity, errors, health and shutdown. Nothing here knows a chat.

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
pub mod presence;
mod problem;
pub mod server;
pub mod telemetry;
pub mod trace;

pub use problem::{FieldError, Problem, ProblemBody};
