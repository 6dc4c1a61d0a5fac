//! One managed store as it is rendered, in a folder instead of a container.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_events::Service;
use chat_local::daemon::{Daemon, Plan};
use chat_local::process::{self, Program, RunAs};
use chat_local::programs;
use chat_operator::build;
use chat_operator::crd::ChatCluster;
use chat_operator::credentials::Credentials;
use chat_operator::facts::Facts;
use chat_operator::resources::Resources;
use chat_operator::validate::{Defaults, Validated, validate};
use k8s_openapi::api::core::v1::{Container, Secret};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use serde_json::{Value, json};

pub const CHAT: &str = "demo";

pub fn password(service: Service) -> String {
    format!("password-of-{}", service.name())
}

/// The folders that a container has are `config`, `secrets`, `data` and `run` of
/// one temporary folder.
pub struct Place {
    folder: PathBuf,
    part: String,
    containers: Vec<Container>,
    user: Option<User>,
}

impl Place {
    /// `name` tells the places of one test process apart.
    pub fn new(part: &str, name: &str, spec: Value) -> Result<Self> {
        let out = rendered(spec, credentials())?;
        let object = format!("{CHAT}-{part}");
        let named = |it: &Option<String>| it.as_deref() == Some(&object);
        let config = out.config_maps.iter().find(|it| named(&it.metadata.name));
        let set = out.stateful_sets.iter().find(|it| named(&it.metadata.name));
        let pod = set.and_then(|it| it.spec.as_ref()?.template.spec.clone());
        let place = Self {
            folder: std::env::temp_dir().join(format!("chat-{name}-{}", std::process::id())),
            part: part.to_owned(),
            containers: pod.context("a pod")?.containers,
            // PostgreSQL refuses to run as root.
            user: (part == "postgres" && geteuid().is_root())
                .then(|| User::from_name("postgres"))
                .transpose()?
                .flatten(),
        };
        for folder in ["", "config", "secrets", "data", "run", "logs"] {
            let folder = place.folder.join(folder);
            std::fs::create_dir_all(&folder)?;
            place.own(&folder)?;
        }
        for (file, content) in config
            .and_then(|it| it.data.as_ref())
            .context("a ConfigMap")?
        {
            place.write(&format!("config/{file}"), &place.here(content))?;
        }
        place.mount(
            "secrets",
            out.secrets.into_iter().find(|it| named(&it.metadata.name)),
        )?;
        Ok(place)
    }

    /// Brings the mounted Secret to this state, as a kubelet does.
    pub fn tell(&self, credentials: Credentials) -> Result<()> {
        let name = format!("{CHAT}-{}", self.part);
        let out = rendered(json!({}), credentials)?;
        let ours = |it: &Secret| it.metadata.name.as_deref() == Some(&name);
        self.mount("secrets", out.secrets.into_iter().find(ours))
    }

    /// Everything that a Secret holds, and nothing else, in a folder.
    fn mount(&self, folder: &str, secret: Option<Secret>) -> Result<()> {
        let data = secret.and_then(|it| it.data).context("a Secret")?;
        let path = self.folder.join(folder);
        for old in std::fs::read_dir(&path)? {
            let old = old?;
            if !data.contains_key(&*old.file_name().to_string_lossy()) {
                std::fs::remove_file(old.path())?;
            }
        }
        for (file, content) in data {
            // At once, as a kubelet does.
            let whole = format!("{folder}/.{file}");
            self.write(&whole, std::str::from_utf8(&content.0)?)?;
            std::fs::rename(self.folder.join(whole), path.join(file))?;
        }
        Ok(())
    }

    /// The container beside the store that tells it of logins.
    pub async fn keeper(&self, env: &[(&str, String)]) -> Result<Daemon> {
        let container = self.containers.get(1).context("a second container")?;
        let command = container.command.as_deref().context("a command")?;
        let mut program = self.with_env(Program::new(&command[0], &self.folder));
        for arg in &command[1..] {
            program = program.arg(self.here(arg));
        }
        for (name, value) in env {
            program = program.env(name, value);
        }
        let daemon = Daemon::new(self.plan_of("logins", program));
        daemon.start().await?;
        Ok(daemon)
    }

    /// Runs the Job that tries the logins of these credentials, until it ends.
    pub async fn check(&self, credentials: Credentials, port: u16) -> Result<()> {
        let out = rendered(json!({}), credentials)?;
        let name = format!("{CHAT}-{}-logins-", self.part);
        let is_it = |it: &Option<String>| it.as_ref().is_some_and(|it| it.starts_with(&name));
        let secret = out.secrets.into_iter().find(|it| is_it(&it.metadata.name));
        let job = out.jobs.into_iter().find(|it| is_it(&it.metadata.name));
        let template = job.and_then(|it| it.spec).context("a Job")?.template;
        let mut containers = template.spec.context("a pod")?.containers;
        let container = containers.pop().context("a container")?;
        std::fs::create_dir_all(self.folder.join("tried"))?;
        self.mount("tried", secret)?;
        let script = self.here(&container.command.context("a command")?[1]);
        let mut program = Program::new("/bin/sh", &self.folder).arg(script);
        for variable in container.env.into_iter().flatten() {
            let value = self.here(&variable.value.unwrap_or_default());
            program = program.env(&variable.name, value);
        }
        let tried = self.folder.join("tried");
        let program = program
            .env("SECRETS", tried.to_string_lossy())
            .env("STORE_HOST", "127.0.0.1")
            .env("STORE_PORT", port.to_string());
        let ended = process::run(&program, "the trial of logins");
        tokio::time::timeout(Duration::from_secs(120), ended)
            .await
            .context("the store does not agree")??;
        Ok(())
    }

    /// The container's command with its environment.
    pub fn program(&self) -> Program {
        let command: Vec<String> = self.containers[0]
            .command
            .iter()
            .flatten()
            .cloned()
            .collect();
        let path = programs::find(&command[0]).unwrap_or_else(|| command[0].clone().into());
        let mut program = self.with_env(Program::new(path, &self.folder));
        for arg in &command[1..] {
            program = program.arg(self.here(arg));
        }
        program
    }

    /// The program, ready once it listens.
    pub fn plan(&self, name: &str, program: Program, port: u16) -> Daemon {
        Daemon::new(Plan {
            ready: Arc::new(move || Box::pin(listens(port))),
            ..self.plan_of(name, program)
        })
    }

    fn plan_of(&self, name: &str, program: Program) -> Plan {
        Plan {
            name: name.into(),
            program,
            log: self.folder.join(format!("logs/{name}.log")),
            pid_file: self.folder.join(format!("logs/{name}.pid")),
            stop_signal: Signal::SIGTERM,
            stop_patience: Duration::from_secs(60),
            start_patience: Duration::from_secs(120),
            ready: Arc::new(|| Box::pin(async { true })),
            advice: "",
        }
    }

    /// Erlang's name server, which the node would else start outside our care.
    pub async fn epmd(&self, port: u16) -> Result<Daemon> {
        let program = Program::new(programs::need("epmd", "rabbitmq-server")?, &self.folder)
            .arg("-address")
            .arg("127.0.0.1")
            .arg("-port")
            .arg(port.to_string());
        let daemon = self.plan("epmd", program, port);
        daemon.start().await?;
        Ok(daemon)
    }

    /// Runs a script of the ConfigMap as a probe or a hook would.
    pub async fn run(&self, script: &str, env: &[(&str, String)]) -> Result<String> {
        let script = self.folder.join("config").join(script);
        let mut program = self
            .with_env(Program::new("/bin/sh", &self.folder))
            .arg(script.to_string_lossy());
        for (name, value) in env {
            program = program.env(name, value);
        }
        process::run(&program, &script.to_string_lossy()).await
    }

    /// Asks like a probe, until the script says yes.
    pub async fn until(&self, script: &str, env: &[(&str, String)]) -> Result<()> {
        let asked = async { while self.run(script, env).await.is_err() {} };
        tokio::time::timeout(Duration::from_secs(120), asked)
            .await
            .with_context(|| format!("{script} never said yes"))
    }

    /// Replaces what must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let content = self.read(file)?;
        anyhow::ensure!(content.contains(from), "{file} has no `{from}`");
        self.write(file, &content.replace(from, to))
    }

    pub fn write(&self, file: &str, content: &str) -> Result<()> {
        let path = self.folder.join(file);
        std::fs::write(&path, content)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440))?;
        self.own(&path)
    }

    pub fn read(&self, file: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.join(file))?)
    }

    pub fn has(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }

    fn with_env(&self, mut program: Program) -> Program {
        for variable in self.containers[0].env.iter().flatten() {
            let value = variable.value.as_deref().unwrap_or_default();
            program = program.env(&variable.name, self.here(value));
        }
        program.user = self.user.as_ref().map(|user| RunAs {
            user: user.name.clone(),
            pass_closed_folders: false,
        });
        program
    }

    /// A path of the container as one of this machine.
    fn here(&self, text: &str) -> String {
        let folder = self.folder.to_string_lossy();
        [
            ("/etc/chat/config", "config"),
            ("/etc/chat/secrets", "secrets"),
            ("/run/chat", "run"),
        ]
        .iter()
        .fold(
            text.replace("/data", &format!("{folder}/data")),
            |text, (path, part)| text.replace(path, &format!("{folder}/{part}")),
        )
    }

    fn own(&self, path: &Path) -> Result<()> {
        if let Some(user) = &self.user {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        Ok(())
    }
}

pub fn credentials() -> Credentials {
    Credentials {
        services: Service::ALL
            .map(|it| (it.name().to_owned(), password(it)))
            .into(),
        postgres: "password-of-postgres".into(),
        rabbitmq: "password-of-rabbitmq".into(),
        erlang_cookie: "cookie".into(),
        redis: "password-of-redis".into(),
        jwt_key: "key".into(),
        ..Credentials::default()
    }
}

/// The stores alone, and the trials of their logins.
fn rendered(spec: Value, credentials: Credentials) -> Result<Resources> {
    let chat = validated(spec, credentials)?;
    let mut out = Resources::default();
    build::postgres::build(&chat, &mut out);
    build::rabbitmq::build(&chat, &mut out);
    build::redis::build(&chat, &mut out);
    build::login_check::build(&chat, &mut out);
    Ok(out)
}

fn validated(mut spec: Value, credentials: Credentials) -> Result<Validated> {
    spec["host"] = "chat.example.com".into();
    let spec = serde_json::from_value(spec)?;
    let facts = Facts {
        credentials,
        ..Facts::default()
    };
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        defaults: Defaults,
    }
    let Flags { defaults } = clap::Parser::parse_from(["operator"]);
    Ok(validate(&ChatCluster::new(CHAT, spec), &facts, &defaults)?)
}

async fn listens(port: u16) -> bool {
    tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .is_ok()
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
