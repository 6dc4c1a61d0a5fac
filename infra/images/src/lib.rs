//! Makes container images without a container engine: those of the product, with
//! the same content as `infra/docker` gives them; and what test clusters run besides:
//! stores from the distribution's packages, and an ingress controller.
//!
//! An image is a tar that `docker load`, `ctr images import`, `kind load
//! image-archive` and `k3d image import` take: an OCI image layout that also has
//! Docker's own table of contents. The same files always give the same digest.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! # let (programs, client) = (std::path::Path::new("."), std::path::Path::new("."));
//! for image in chat_images::chat(programs, client, "0.1.0")? {
//!     // chatcluster/auth:0.1.0 is sha256:… in …/chatcluster_auth_0.1.0-….tar
//!     image.archive;
//! }
//! # Ok(()) }
//! ```

mod archive;
mod chat;
mod debian;
mod dockerfile;
mod ingress;
mod layer;
mod stores;

use std::path::PathBuf;

pub use archive::{Config, Draft, Image};
pub use chat::{PROGRAMS, chat, client, program};
pub use ingress::{INGRESS, ingress};
pub use layer::Layer;
pub use stores::{Store, stores};

/// Where archives are kept, outside of the checkout. Each may be removed at any time.
pub fn folder() -> PathBuf {
    chat_local::cache().join("images")
}
