//! More nodes of the broker, as a cluster on one machine.

use anyhow::{Context, Result};

use super::{Stores, StoresHandle, rabbitmq};
use crate::daemon::Daemon;
use crate::{ports, space};

/// A node that joined the cluster of a [`Stores`]; dropping it kills it.
#[derive(Debug)]
pub struct Peer {
    pub rabbitmq: Daemon,
    /// The same stores, but with the ports of this node.
    pub handle: StoresHandle,
}

impl Stores {
    /// One more node, with all that the broker knows. Queues that are declared from
    /// now on have copies on it.
    pub async fn join(&self, name: &str) -> Result<Peer> {
        let first = &self.handle;
        let handle = StoresHandle {
            folder: first.folder.join(name),
            rabbitmq_port: ports::free()?,
            rabbitmq_http_port: ports::free()?,
            rabbitmq_node: format!("{}-{name}", first.rabbitmq_node),
            rabbitmq_dist_port: ports::free()?,
            ..first.clone()
        };
        for part in ["run", "logs", "rabbitmq/home"] {
            space::create(&handle.folder.join(part))?;
        }
        let cookie = "rabbitmq/home/.erlang.cookie";
        std::fs::copy(first.folder.join(cookie), handle.folder.join(cookie))
            .context("the cookie of the first node")?;
        let peer = Peer {
            rabbitmq: rabbitmq::daemon(&handle)?,
            handle,
        };
        peer.rabbitmq.start().await?;
        let cluster = format!("{}@localhost", first.rabbitmq_node);
        for command in [
            &["stop_app"][..],
            &["join_cluster", &cluster],
            &["start_app"],
        ] {
            peer.handle.rabbitmqctl(command).await?;
        }
        peer.rabbitmq.ready().await?;
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.rabbitmq.kill_now();
    }
}
