//! The cluster that the tests of one run share.

use std::path::PathBuf;

use crate::Cluster;

/// Names the file of the cluster to share; `cargo xtask test` sets it.
pub const CLUSTER_VARIABLE: &str = "CHAT_TEST_CLUSTER";

/// The cluster that `CHAT_TEST_CLUSTER` or a running `cargo xtask cluster up` offers.
///
/// # Panics
/// When there is none: no test can go on then.
pub fn cluster() -> Cluster {
    let found = match std::env::var_os(CLUSTER_VARIABLE) {
        Some(file) => Cluster::read(file.as_ref()),
        None => Cluster::find(&shared_cluster_folder()),
    };
    match found {
        Ok(cluster) => cluster,
        Err(error) => panic!("no cluster for the test (`cargo xtask cluster up`): {error:#}"),
    }
}

/// The same, and the calling thread is inside afterwards.
///
/// # Panics
/// When there is none.
pub fn enter_cluster() -> Cluster {
    let cluster = cluster();
    match cluster.enter() {
        Ok(()) => cluster,
        Err(error) => panic!("no way into the cluster: {error:#}"),
    }
}

/// Where `cargo xtask cluster up` keeps its cluster.
pub fn shared_cluster_folder() -> PathBuf {
    chat_local::cache().join("cluster")
}
