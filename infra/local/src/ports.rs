//! Free loopback ports below 32768, where the kernel does not pick the local
//! ends of outgoing connections.

use std::collections::HashMap;
use std::fs::File;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use rand::RngExt;

use crate::space;

/// The ports of this process, each with the locked file that keeps it from all other
/// processes of the same user until this one ends.
static TAKEN: LazyLock<Mutex<HashMap<u16, File>>> = LazyLock::new(Mutex::default);

/// A port that was free a moment ago, and that no other process which asks here gets
/// while this one lives: between now and its use there may be seconds.
pub fn free() -> Result<u16> {
    for _ in 0..1000 {
        let port = rand::rng().random_range(10_240..32_768);
        if take(port)? {
            return Ok(port);
        }
    }
    bail!("No free port between 10240 and 32767 was found: close some programs and try again.")
}

/// The wanted port if it is free, or was given to this process before; else another.
pub fn prefer(wanted: u16) -> Result<u16> {
    let is_ours = taken().contains_key(&wanted) && is_free(wanted);
    if is_ours || take(wanted)? {
        Ok(wanted)
    } else {
        free()
    }
}

pub fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

fn taken() -> MutexGuard<'static, HashMap<u16, File>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(port: u16) -> Result<bool> {
    let mut taken = taken();
    if taken.contains_key(&port) {
        return Ok(false);
    }
    let folder = space::cache().join("ports");
    space::create(&folder)?;
    let file = File::create(folder.join(port.to_string()))?;
    let is_ours = file.try_lock().is_ok() && is_free(port);
    if is_ours {
        taken.insert(port, file);
    }
    Ok(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once_and_may_be_wanted_again() -> Result<()> {
        let port = free()?;
        assert!(!take(port)?);
        assert_eq!(prefer(port)?, port);
        let used = TcpListener::bind(("127.0.0.1", port))?;
        assert_ne!(prefer(port)?, port);
        drop(used);
        Ok(())
    }

    #[test]
    fn a_port_that_another_process_took_is_not_given() -> Result<()> {
        let folder = space::cache().join("ports");
        space::create(&folder)?;
        let port = free()?;
        let file = taken().remove(&port);
        // Another open file is to the lock what another process is.
        assert!(!take(port)?);
        drop(file);
        assert!(take(port)?);
        Ok(())
    }
}
