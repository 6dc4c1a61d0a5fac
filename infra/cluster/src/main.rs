//! `cluster-node FOLDER`: holds a node. Started by `Cluster::start`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
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
