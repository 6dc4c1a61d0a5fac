//! The operator: one `ChatCluster` becomes a running chat.
//!
//! Each pass takes five steps, and only three of them talk to the cluster:
//! `dereference` → `validate` → `build` → `apply` → `status`.

pub mod apply;
pub mod build;
pub mod chat;
pub mod check;
pub mod children;
pub mod client;
pub mod context;
pub mod controller;
pub mod crd;
pub mod credentials;
pub mod dereference;
pub mod digest;
pub mod events;
pub mod facts;
pub mod kinds;
pub mod lease;
pub mod log;
pub mod metrics;
mod quantity;
pub mod rbac;
pub mod reference;
pub mod render;
pub mod resources;
pub mod run;
pub mod server;
pub mod status;
pub mod validate;
pub mod yaml;
