//! A real Kubernetes control plane on loopback for tests: etcd, kube-apiserver
//! and kube-controller-manager, with kubectl and Helm to talk to it. There is no
//! node: Pods are made and stay Pending. (`chat_cluster` adds one that runs them.)
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! let namespace = chat_kube::testing::namespace().await; // removed when dropped: keep it
//! namespace.access.kubectl(&["get", "pods", "-n", &namespace.name]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A test that stops the API server takes its own: `testing::own_control_plane(..)`,
//! and then `plane.api_server.kill()`, `.start()`, `.pause()`, `.resume()`.
//! `cargo xtask kube` keeps a shared one running, which makes daily test runs
//! start at once.

pub mod access;
pub mod audit;
pub mod certs;
pub mod control_plane;
mod kubeconfig;
pub mod testing;
pub mod tools;

pub use access::Access;
pub use control_plane::{ControlPlane, NodeAddress, Options};
pub use tools::{NodeTools, Tools, node_tools, tools};
