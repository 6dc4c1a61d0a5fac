//! `cluster-node FOLDER`: holds a node. Started by `Cluster::start`.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // The client tells of each time that a server which starts does not answer yet.
    let said = EnvFilter::new("info,kube_client::client::builder=off");
    tracing_subscriber::fmt()
        .with_env_filter(said)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let Some(folder) = std::env::args_os().nth(1) else {
        tracing::error!("which folder?");
        return ExitCode::FAILURE;
    };
    match chat_cluster::supervise(folder.as_ref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
