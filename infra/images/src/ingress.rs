//! The ingress controller of test clusters: our program, and the distribution's NGINX.

use std::path::Path;

use anyhow::Result;
use chat_local::programs;

use crate::archive::{Config, Draft, Image};
use crate::chat::{Work, strip};
use crate::folder;
use crate::layer::Layer;

/// As `infra/ingress/manifest.yaml` names it.
pub const INGRESS: &str = "chatcluster-test/ingress:1";

/// From the binary `ingress`.
pub fn ingress(binary: &Path) -> Result<Image> {
    let nginx = programs::need("nginx", "nginx-light")?;
    let work = Work::new()?;
    work.root(&nginx, "/nginx")?;
    let root = work.root(&strip(&work, binary)?, "/app")?;
    let draft = Draft {
        name: INGRESS.into(),
        layers: vec![Layer::of_folder(&root)?],
        config: Config {
            user: "10001:10001".into(),
            entrypoint: vec!["/app".into()],
            ..Config::default()
        },
    };
    draft.write(&folder())
}
