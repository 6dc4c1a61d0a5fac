//! A private Redis. It keeps users over a restart and nothing else: the services
//! hold nothing in it that they cannot rebuild, and a restart proves it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use redis::AsyncConnectionConfig;

use super::StoresHandle;
use crate::daemon::{Daemon, Plan};
use crate::process::Program;
use crate::{programs, space};

const PATIENCE: Duration = Duration::from_secs(10);

pub fn daemon(handle: &StoresHandle) -> Result<Daemon> {
    let redis = programs::need("redis-server", "redis-server")?;
    let folder = handle.folder.join("redis");
    space::create(&folder)?;
    let users = folder.join("users.acl");
    if !users.exists() {
        let admin = format!("user default on >{} ~* &* +@all\n", handle.password);
        space::write_private(&users, admin)?;
    }
    let settings = format!(
        "bind 127.0.0.1\nport {}\ndir {}\naclfile {}\nsave \"\"\nappendonly no\n\
         maxmemory 256mb\nmaxmemory-policy noeviction\ndaemonize no\n",
        handle.redis_port,
        quoted(&folder.to_string_lossy()),
        quoted(&users.to_string_lossy()),
    );
    let file = folder.join("redis.conf");
    space::write_private(&file, settings)?;
    let probe = handle.clone();
    Ok(Daemon::new(Plan {
        name: "Redis".into(),
        program: Program::new(redis, &folder).arg(file.to_string_lossy()),
        log: handle.log("redis"),
        pid_file: handle.pid_file("redis"),
        stop_signal: Signal::SIGTERM,
        stop_patience: Duration::from_secs(10),
        start_patience: Duration::from_secs(20),
        advice: super::ADVICE,
        ready: Arc::new(move || {
            let handle = probe.clone();
            Box::pin(async move {
                let Ok(mut redis) = handle.redis().await else {
                    return false;
                };
                redis::cmd("PING").exec_async(&mut redis).await.is_ok()
            })
        }),
    }))
}

impl StoresHandle {
    /// The administrator's connection.
    pub async fn redis(&self) -> Result<redis::aio::MultiplexedConnection> {
        let url = format!(
            "redis://default:{}@127.0.0.1:{}",
            self.password, self.redis_port
        );
        // The default half second is too short for a machine that builds meanwhile.
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        Ok(redis::Client::open(url)?
            .get_multiplexed_async_connection_with_config(&patient)
            .await?)
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
