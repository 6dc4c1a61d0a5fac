//! Watches, renders, and tells NGINX.

use std::fmt::Debug;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use chat_ingress::{Found, Nginx, Ports, render};
use clap::Parser;
use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout, timeout_at};

/// Changes that come together make one configuration.
const SETTLE: Duration = Duration::from_millis(200);
/// For open requests and sockets when the pod ends.
const GRACE: Duration = Duration::from_secs(25);

#[derive(Parser)]
#[command(about = "Serves the Ingresses of one class by NGINX")]
struct Options {
    #[arg(long, default_value = "nginx")]
    class: String,
    #[command(flatten)]
    ports: Ports,
    /// The program.
    #[arg(long, default_value = "/nginx")]
    nginx: PathBuf,
    /// Where NGINX writes.
    #[arg(long, default_value = "/tmp")]
    folder: PathBuf,
}

struct Watched {
    ingresses: Store<Ingress>,
    services: Store<Service>,
    secrets: Store<Secret>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr);
    log.with_ansi(std::io::stderr().is_terminal()).init();
    let options = Options::parse();
    let mut end = signal(SignalKind::terminate())?;
    let client = Client::try_default().await?;
    let tls = watcher::Config::default().fields("type=kubernetes.io/tls");
    let (ingresses, first) = watch(Api::all(client.clone()), watcher::Config::default());
    let (services, second) = watch(Api::all(client.clone()), watcher::Config::default());
    let (secrets, third) = watch(Api::all(client), tls);
    let watched = Watched {
        ingresses,
        services,
        secrets,
    };
    let mut changes = stream::select_all([first, second, third]);
    tokio::select! {
        complete = watched.complete() => complete?,
        () = async { while changes.next().await.is_some() {} } => bail!("nothing is watched"),
        _ = end.recv() => return Ok(()),
    }
    let mut rendered = render(&watched.found(), &options.class, options.ports);
    report(&rendered.problems);
    let mut nginx = Nginx::start(&options.nginx, &options.folder, &rendered).await?;
    loop {
        tokio::select! {
            Some(()) = changes.next() => {}
            status = nginx.wait() => bail!("NGINX ended by itself: {}", status?),
            _ = end.recv() => break,
        }
        let deadline = Instant::now() + SETTLE;
        while let Ok(Some(())) = timeout_at(deadline, changes.next()).await {}
        let newer = render(&watched.found(), &options.class, options.ports);
        if newer != rendered {
            report(&newer.problems);
            match nginx.apply(&newer).await {
                Ok(()) => tracing::info!("NGINX reads another configuration"),
                Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
            }
            rendered = newer;
        }
    }
    nginx.quit()?;
    // Whoever is still there is disconnected when this process ends.
    let _ = timeout(GRACE, nginx.wait()).await;
    Ok(())
}

/// What there is, and a sign at each change of it.
fn watch<K>(api: Api<K>, config: watcher::Config) -> (Store<K>, BoxStream<'static, ()>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(api, config).default_backoff().reflect(writer);
    let changes = events.filter_map(|event| async move {
        event
            .inspect_err(|error| tracing::warn!("a watch goes on anew: {error}"))
            .ok()
            .map(|_| ())
    });
    (store, changes.boxed())
}

impl Watched {
    /// Returns when all was read once.
    async fn complete(&self) -> Result<()> {
        self.ingresses.wait_until_ready().await?;
        self.services.wait_until_ready().await?;
        Ok(self.secrets.wait_until_ready().await?)
    }

    fn found(&self) -> Found {
        Found {
            ingresses: copy(&self.ingresses),
            services: copy(&self.services),
            secrets: copy(&self.secrets),
        }
    }
}

fn copy<K: Resource<DynamicType = ()> + Clone>(store: &Store<K>) -> Vec<K> {
    let all = store.state();
    all.iter().map(|it| it.as_ref().clone()).collect()
}

fn report(problems: &[String]) {
    for problem in problems {
        tracing::warn!("{problem}");
    }
}
