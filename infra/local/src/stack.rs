//! The five services of one ChatCluster as processes behind NGINX.

mod nginx;
mod pod;
mod supervisor;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chat_events::Service;
use futures::future::try_join_all;

pub use pod::{Place, Pod};
pub use supervisor::Supervisor;

use crate::daemon::Daemon;
use crate::process::{self, Program};
use crate::{Cluster, ports, space};

#[derive(Clone, Debug)]
pub struct StackOptions {
    /// For logs, pid files and the configuration of NGINX.
    pub folder: PathBuf,
    /// Where the binaries of the services are.
    pub programs: PathBuf,
    /// Pods of each service.
    pub replicas: usize,
    /// The built client; without it only APIs and sockets answer.
    pub client: Option<PathBuf>,
    /// The public port, else any free one.
    pub port: Option<u16>,
    /// More settings for every service, such as `LOG`.
    pub env: Vec<(String, String)>,
    /// More settings for one service.
    pub env_of: Vec<(Service, String, String)>,
}

impl StackOptions {
    pub fn new(folder: impl Into<PathBuf>, programs: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            programs: programs.into(),
            replicas: 1,
            client: None,
            port: None,
            env: Vec::new(),
            env_of: Vec::new(),
        }
    }

    /// Gives one service another value of a setting, such as the port at which it
    /// reaches a store.
    pub fn set(&mut self, service: Service, name: &str, value: impl Into<String>) {
        self.env_of.push((service, name.into(), value.into()));
    }
}

/// Dropping it kills all of it; `stop` is kinder.
#[derive(Debug)]
pub struct Stack {
    cluster: Cluster,
    url: String,
    doors: Vec<(Service, u16)>,
    pods: Vec<Pod>,
    nginx: Daemon,
    supervisor: Supervisor,
    options: StackOptions,
}

impl Stack {
    /// Migrates, starts the services and NGINX, and waits until all are ready.
    pub async fn start(cluster: &Cluster, options: StackOptions) -> Result<Self> {
        let mut stack = Self::prepare(cluster, options)?;
        stack.migrate().await?;
        stack.start_services().await?;
        Ok(stack)
    }

    /// Chooses ports and writes the configuration, and starts nothing yet.
    pub fn prepare(cluster: &Cluster, options: StackOptions) -> Result<Self> {
        space::create(&options.folder)?;
        let folder = std::fs::canonicalize(&options.folder)?;
        space::check_free(&folder)?;
        for part in ["run", "logs", "nginx"] {
            space::create(&folder.join(part))?;
        }
        let port = match options.port {
            Some(port) if !ports::is_free(port) => bail!(
                "Port {port} is in use by another program: stop that one, or choose another with --port."
            ),
            Some(port) => port,
            None => ports::free()?,
        };
        let mut places = Vec::new();
        for service in Service::ALL {
            for replica in 0..options.replicas {
                places.push(Place::new(service, replica)?);
            }
        }
        let doors = doors(&places, options.replicas)?;
        let nginx = nginx::daemon(&folder, &nginx::Site::new(port, &options, &places, &doors))?;
        let mut stack = Self {
            cluster: cluster.clone(),
            url: format!("http://localhost:{port}"),
            doors,
            pods: Vec::new(),
            nginx,
            supervisor: Supervisor::default(),
            options: StackOptions { folder, ..options },
        };
        for place in places {
            let mut program = stack.program(place.service)?.arg("serve");
            program.env = stack.env(place.service);
            let pod = Pod::new(place, program, &stack.options.folder);
            stack.pods.push(pod);
        }
        Ok(stack)
    }

    /// Brings every database to the version of its service.
    pub async fn migrate(&self) -> Result<()> {
        let databases = Service::ALL.into_iter().filter(|it| it.has_database());
        try_join_all(databases.map(|service| async move {
            let mut program = self.program(service)?.arg("migrate");
            program.env = self.env(service);
            process::run(&program, &format!("The migration of {}", service.name())).await
        }))
        .await?;
        Ok(())
    }

    /// Starts the services and NGINX, waits until all are ready, and from then
    /// on brings back those that die.
    pub async fn start_services(&mut self) -> Result<()> {
        for pod in &self.pods {
            pod.launch().await?;
        }
        // Before anybody is ready: many pods reach each other through it.
        self.nginx.start().await?;
        try_join_all(self.pods.iter().map(|pod| pod.ready())).await?;
        for pod in &self.pods {
            self.supervisor.watch(pod);
        }
        self.supervisor.watch(&self.nginx);
        Ok(())
    }

    /// The public address, such as `http://localhost:8080`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A pod of a service: stop, kill, pause or ask it directly.
    ///
    /// # Panics
    /// When there are fewer replicas than that.
    pub fn pod(&self, service: Service, replica: usize) -> &Pod {
        let found = self
            .pods
            .iter()
            .find(|pod| pod.place().service == service && pod.place().replica == replica);
        match found {
            Some(pod) => pod,
            None => panic!("there is no replica {replica} of {}", service.name()),
        }
    }

    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// NGINX: `stop`, `start`, and `signal(SIGHUP)` to reload.
    pub fn nginx(&self) -> &Daemon {
        &self.nginx
    }

    pub fn logs(&self) -> PathBuf {
        self.options.folder.join("logs")
    }

    /// Stops NGINX, then the services in reverse order of their start.
    pub async fn stop(mut self) -> Result<()> {
        self.supervisor.stop().await;
        let mut outcome = self.nginx.stop().await;
        for service in Service::ALL.into_iter().rev() {
            let pods = self
                .pods
                .iter()
                .filter(|pod| pod.place().service == service);
            let stopped = try_join_all(pods.map(|pod| pod.stop())).await;
            outcome = outcome.and(stopped.map(|_| ()));
        }
        outcome
    }

    fn program(&self, service: Service) -> Result<Program> {
        let path = self.options.programs.join(service.name());
        let path = std::fs::canonicalize(&path).with_context(|| {
            format!(
                "{} is missing: build it with `cargo build -p chat-{}`.",
                path.display(),
                service.name()
            )
        })?;
        Ok(Program::new(path, &self.options.folder))
    }

    fn env(&self, service: Service) -> Vec<(String, String)> {
        let mut env = self.cluster.env(service);
        let loopback = self.url.replace("localhost", "127.0.0.1");
        env.push(("PUBLIC_ORIGINS".into(), format!("{},{loopback}", self.url)));
        for (service, port) in &self.doors {
            let name = format!("{}_URL", service.name().to_uppercase());
            env.push((name, format!("http://127.0.0.1:{port}")));
        }
        env.extend(self.options.env.iter().cloned());
        let of_service = self.options.env_of.iter().filter(|(of, ..)| *of == service);
        // Of two values of one name, the later counts.
        env.extend(of_service.map(|(_, name, value)| (name.clone(), value.clone())));
        env
    }
}

/// Where services reach each other: the only pod, or NGINX in front of many.
fn doors(places: &[Place], replicas: usize) -> Result<Vec<(Service, u16)>> {
    [Service::Auth, Service::Users, Service::Messages]
        .into_iter()
        .map(|service| {
            let only = places
                .iter()
                .find(|it| it.service == service && replicas == 1);
            Ok((service, only.map_or_else(ports::free, |pod| Ok(pod.port))?))
        })
        .collect()
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.supervisor.abort();
        self.nginx.kill_now();
        for pod in &self.pods {
            pod.kill_now();
        }
    }
}

/// The folder of the binaries that `cargo build` makes beside the running test.
pub fn programs_beside_tests() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    this.ancestors()
        .skip(1)
        .find(|folder| folder.join("auth").is_file() && folder.join("messages").is_file())
        .map(Path::to_owned)
        .context("The services are not built: run `cargo build --workspace --bins` first.")
}

/// How long NGINX or a service may take to answer after its start.
const START_PATIENCE: Duration = Duration::from_secs(60);
