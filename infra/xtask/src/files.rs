//! Where things are.

use std::path::PathBuf;

pub use chat_local::cache;

/// The root of the checkout.
pub fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest
        .ancestors()
        .nth(2)
        .map_or(manifest.clone(), PathBuf::from)
}

/// The cargo target folder of everything that xtask builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache().join("target"), PathBuf::from)
}

/// What `up` keeps in the checkout: data, logs, passwords.
pub fn local() -> PathBuf {
    root().join(".local")
}
