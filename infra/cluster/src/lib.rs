//! A real Kubernetes node on one machine, without a container engine: the control
//! plane of `chat_kube` with containerd, a kubelet, kube-proxy, CoreDNS and volumes, in
//! namespaces of its own. Used by `cargo xtask cluster` and by every test with Pods.
//!
//! ```no_run
//! # async fn test() -> anyhow::Result<()> {
//! let cluster = chat_cluster::testing::enter_cluster(); // this thread is inside now
//! cluster.load_image("image.tar".as_ref()).await?;
//! cluster.kubectl(&["get", "pods", "--all-namespaces"]).await?;
//! # Ok(()) }
//! ```
//!
//! | to see | read |
//! | --- | --- |
//! | the order in which a node comes up | `supervisor.rs` |
//! | mounts, network and kernel settings | `node.sh` |
//! | what tests can do to it | `cluster.rs` |

mod cgroups;
mod cluster;
mod doors;
mod namespaces;
mod node;
mod runtime;
mod supervisor;
pub mod testing;
mod volumes;
mod wait;

pub use cluster::{Cluster, remove, require_root};
pub use supervisor::supervise;
