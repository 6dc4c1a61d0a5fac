//! Starts, watches and stops private servers by process: PostgreSQL, RabbitMQ
//! and Redis in a folder of their own, and the services behind NGINX. Used by
//! `cargo xtask up` and by every test that needs real servers.
//!
//! A service test needs one line:
//!
//! ```no_run
//! # async fn test() {
//! # use chat_events::Service;
//! let cluster = chat_local::testing::cluster().await; // removed when dropped: keep it
//! let env = cluster.env(Service::Auth); // the variables of the stores, CLUSTER and JWT_KEY
//! # }
//! ```
//!
//! A test that stops servers takes its own: `testing::own_stores()`, and then
//! `stores.rabbitmq.stop()`, `.start()`, `.kill()`, `.pause()`, `.resume()`, the
//! same for `stores.postgres` and `stores.redis`. `cargo xtask stores` keeps a
//! shared set running, which makes daily test runs start at once.
//!
//! The whole chat is `Stack::start(&cluster, StackOptions::new(folder, programs))`:
//! `stack.url()`, `stack.pod(service, replica)` and `stack.nginx()` to stop, kill,
//! pause and start, `stack.stop()`. A dead process is brought back unless it was
//! stopped or killed through its `Daemon`.

pub mod daemon;
mod leftovers;
pub mod ports;
pub mod process;
pub mod programs;
mod provision;
mod space;
pub mod stack;
mod stores;
pub mod testing;

pub use leftovers::kill_leftovers;
pub use provision::{Cluster, provision};
pub use space::{cache, write_private};
pub use stack::{Pod, Stack, StackOptions, Supervisor};
pub use stores::{ADMIN, Peer, Stores, StoresHandle, new_password};
