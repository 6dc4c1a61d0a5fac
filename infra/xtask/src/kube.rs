//! `cargo xtask kube`: the shared Kubernetes control plane, for daily work.

use std::process::ExitCode;

use anyhow::Result;
use chat_kube::testing::shared_control_plane_folder;
use chat_kube::{ControlPlane, Options};
use chat_local::process::PidFile;

use crate::{files, signals};

pub async fn run() -> Result<ExitCode> {
    let stopping = signals::stop_requested()?;
    let folder = shared_control_plane_folder();
    files::empty_shared(&folder)?;
    let plane = ControlPlane::start(&folder, Options::default()).await?;
    let ready = folder.join(files::SHARED_READY);
    PidFile::of_this_process().write(&ready)?;
    eprintln!("The shared control plane runs. Tests find it by themselves; look into it by");
    eprintln!("  export KUBECONFIG={}", plane.kubeconfig().display());
    eprintln!(
        "  {} get all --all-namespaces",
        plane.tools.kubectl.display()
    );
    stopping.cancelled().await;
    let _ = std::fs::remove_file(ready);
    plane.stop().await?;
    std::fs::remove_dir_all(&folder)?;
    Ok(ExitCode::SUCCESS)
}
