//! A private RabbitMQ with its own node name, Erlang cookie, name server and
//! settings, so that it never meets the system's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::Value;

use super::{ADMIN, StoresHandle};
use crate::daemon::{Daemon, Plan};
use crate::process::{self, Program};
use crate::{programs, space};

pub fn epmd(handle: &StoresHandle) -> Result<Daemon> {
    let epmd = programs::need("epmd", "rabbitmq-server")?;
    let port = handle.epmd_port;
    Ok(Daemon::new(Plan {
        name: "epmd".into(),
        program: Program::new(epmd, &handle.folder)
            .arg("-address")
            .arg("127.0.0.1")
            .arg("-port")
            .arg(port.to_string()),
        log: handle.log("epmd"),
        pid_file: handle.pid_file("epmd"),
        stop_signal: Signal::SIGTERM,
        stop_patience: Duration::from_secs(5),
        start_patience: Duration::from_secs(10),
        advice: super::ADVICE,
        ready: Arc::new(move || Box::pin(answers(port))),
    }))
}

pub fn daemon(handle: &StoresHandle) -> Result<Daemon> {
    let server = programs::rabbitmq_server()?;
    let folder = handle.folder.join("rabbitmq");
    for part in ["data", "home"] {
        space::create(&folder.join(part))?;
    }
    let settings = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {}\n\
         management.rates_mode = none\n\
         default_user = {ADMIN}\n\
         default_pass = {}\n\
         disk_free_limit.absolute = 200MB\n\
         raft.wal_max_size_bytes = 67108864\n\
         cluster_partition_handling = pause_minority\n\
         log.console = true\n\
         log.console.level = info\n\
         log.connection.level = warning\n\
         log.file = false\n",
        handle.rabbitmq_port, handle.rabbitmq_http_port, handle.password,
    );
    space::write_private(&folder.join("rabbitmq.conf"), settings)?;
    let plugins = folder.join("enabled_plugins");
    std::fs::write(&plugins, "[rabbitmq_management].\n")
        .with_context(|| space::write_failed(&plugins))?;
    let probe = handle.clone();
    Ok(Daemon::new(Plan {
        name: "RabbitMQ".into(),
        program: program(handle, &server, &folder),
        log: handle.log("rabbitmq"),
        pid_file: handle.pid_file("rabbitmq"),
        stop_signal: Signal::SIGTERM,
        stop_patience: Duration::from_secs(30),
        start_patience: Duration::from_secs(120),
        advice: super::ADVICE,
        ready: Arc::new(move || {
            let handle = probe.clone();
            Box::pin(async move {
                answers(handle.rabbitmq_port).await
                    && handle
                        .rabbitmq_api(Method::GET, "overview", None)
                        .await
                        .is_ok()
            })
        }),
    }))
}

fn program(handle: &StoresHandle, server: &Path, folder: &Path) -> Program {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    Program::new(server, folder)
        .env("HOME", path("home"))
        // The start script then becomes the server instead of waiting for it,
        // so that our signals reach it.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env(
            "RABBITMQ_NODENAME",
            format!("{}@localhost", handle.rabbitmq_node),
        )
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
        .env("RABBITMQ_ADVANCED_CONFIG_FILE", path("none.config"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", path("data"))
        .env("RABBITMQ_MNESIA_DIR", path("data/node"))
        .env("RABBITMQ_LOG_BASE", path("data"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_PID_FILE", path("rabbitmq.pid"))
        .env("RABBITMQ_DIST_PORT", handle.rabbitmq_dist_port.to_string())
        .env("ERL_EPMD_PORT", handle.epmd_port.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
        )
}

impl StoresHandle {
    /// Runs `rabbitmqctl` as whoever runs the server; what it printed.
    pub async fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String> {
        let control = programs::beside(&programs::rabbitmq_server()?, "rabbitmqctl");
        let mut control = program(self, &control, &self.folder.join("rabbitmq"));
        control.args = arguments.iter().map(|it| (*it).to_owned()).collect();
        process::run(&control, "rabbitmqctl").await
    }

    /// Calls RabbitMQ's management API as administrator.
    pub async fn rabbitmq_api(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value> {
        let url = format!("http://127.0.0.1:{}/api/{path}", self.rabbitmq_http_port);
        let mut request = reqwest::Client::new()
            .request(method, &url)
            .basic_auth(ADMIN, Some(&self.password))
            .timeout(Duration::from_secs(30));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?.error_for_status()?.bytes().await?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

async fn answers(port: u16) -> bool {
    tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_ok()
}
