//! Free loopback ports below 32768, where the kernel does not pick the local
//! ends of outgoing connections.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Result, bail};
use rand::RngExt;

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that was free a moment ago and that this process gets only once.
/// Random, so that processes that look at the same time rarely meet.
pub fn free() -> Result<u16> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1000 {
        let port = rand::rng().random_range(10_240..32_768);
        if is_free(port) && taken.insert(port) {
            return Ok(port);
        }
    }
    bail!("No free port between 10240 and 32767 was found: close some programs and try again.")
}

/// The wanted port if it is free, else another.
pub fn prefer(wanted: u16) -> Result<u16> {
    if is_free(wanted) { Ok(wanted) } else { free() }
}

pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
