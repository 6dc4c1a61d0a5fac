//! One process of a service.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use chat_events::Service;
use nix::sys::signal::Signal;

use super::START_PATIENCE;
use crate::daemon::{Daemon, Plan};
use crate::ports;
use crate::process::Program;

/// Which pod, and where it listens.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub service: Service,
    pub replica: usize,
    pub port: u16,
    pub admin_port: u16,
}

#[derive(Clone, Debug)]
pub struct Pod {
    place: Place,
    daemon: Daemon,
}

impl Place {
    pub(super) fn new(service: Service, replica: usize) -> Result<Self> {
        Ok(Self {
            service,
            replica,
            port: ports::free()?,
            admin_port: ports::free()?,
        })
    }

    /// Past NGINX, to this pod alone.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where `/livez`, `/readyz` and `/metrics` are.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin_port)
    }
}

impl Pod {
    pub(super) fn new(place: Place, program: Program, folder: &Path) -> Self {
        let name = match place.replica {
            0 => place.service.name().to_owned(),
            more => format!("{}-{more}", place.service.name()),
        };
        let ready = format!("{}/readyz", place.admin_url());
        let daemon = Daemon::new(Plan {
            log: folder.join("logs").join(format!("{name}.log")),
            pid_file: folder.join("run").join(format!("{name}.pid")),
            name,
            program: program
                .env("HOST", "127.0.0.1")
                .env("PORT", place.port.to_string())
                .env("ADMIN_PORT", place.admin_port.to_string()),
            stop_signal: Signal::SIGTERM,
            stop_patience: Duration::from_secs(30),
            start_patience: START_PATIENCE,
            advice: "",
            ready: Arc::new(move || {
                let url = ready.clone();
                Box::pin(async move {
                    let answer = reqwest::get(url).await;
                    answer.is_ok_and(|answer| answer.status().is_success())
                })
            }),
        });
        Self { place, daemon }
    }

    pub fn place(&self) -> Place {
        self.place
    }
}

impl Deref for Pod {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.daemon
    }
}
