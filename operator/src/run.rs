//! `operator run`: the process around the controller.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use kube::Config;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::client::Reach;
use crate::context::Context;
use crate::context::queue::Reason;
use crate::controller;
use crate::controller::watches::{self, Watches};
use crate::events::Announcer;
use crate::lease::{Candidate, Leadership};
use crate::server::{self, Health};
use crate::validate::Defaults;
use crate::{client, metrics};

/// How long running passes may take to end.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the operator.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The only namespaces that are looked at; all of them when none is given.
    #[arg(long, env = "WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// ChatClusters that are worked on at the same time.
    #[arg(long, env = "WORKERS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Lets one of several operators work while the others stand by.
    #[arg(long, env = "LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// Where the Lease is; the operator's own namespace when not given.
    #[arg(long, env = "POD_NAMESPACE")]
    lease_namespace: Option<String>,
    /// What no other operator of the cluster is called; the name of the pod.
    #[arg(long, env = "POD_NAME")]
    identity: Option<String>,
    /// Where /livez, /readyz and /metrics are answered.
    #[arg(long, env = "METRICS_ADDR", default_value = "0.0.0.0:9000")]
    metrics_addr: SocketAddr,
    #[command(flatten)]
    defaults: Defaults,
    #[command(flatten)]
    log: crate::log::Args,
}

/// Runs until the process is told to stop, or cannot lead any more.
///
/// # Errors
/// When it cannot start, or lost its lease: then it must not go on.
pub async fn run(args: Args) -> Result<()> {
    let log = args.log.start()?;
    let ended = operate(args).await;
    log.stop();
    ended
}

async fn operate(args: Args) -> Result<()> {
    let namespaces: Vec<String> = args
        .watch_namespaces
        .into_iter()
        .filter(|name| !name.is_empty())
        .collect();
    let recorder = metrics::start().context("metrics")?;
    let config = Config::infer().await.context("no cluster to talk to")?;
    let identity = identity(args.identity.as_deref());
    let namespace = args
        .lease_namespace
        .unwrap_or_else(|| config.default_namespace.clone());
    let reach = Arc::new(Reach::default());
    let mut candidate = if args.leader_elect {
        let client = client::unguarded(config.clone(), reach.clone())?;
        Some(Candidate::new(client, &namespace, identity.clone()))
    } else {
        None
    };
    let leadership = candidate
        .as_ref()
        .map_or_else(Leadership::alone, Candidate::leadership);
    let client = client::guarded(config, leadership, reach.clone())?;
    let announcer = Announcer::new(client.clone(), identity.clone());
    let context = Arc::new(Context::new(client, reach, args.defaults, announcer));

    let told = told_to_stop()?;
    let stop = CancellationToken::new();
    let watches = Watches::start(&context, &namespaces, &stop);
    let listener = TcpListener::bind(args.metrics_addr)
        .await
        .context("metrics address")?;
    tracing::info!(address = %listener.local_addr()?, identity, "up");
    let health = Health {
        context: context.clone(),
        synced: watches.synced(),
        metrics: recorder,
    };
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move {
            axum::serve(listener, server::router(health))
                .with_graceful_shutdown(async move { stop.cancelled().await })
                .await
        }
    });

    let ended = tokio::select! {
        ended = lead(&context, &namespaces, &watches, candidate.as_mut(), args.workers, &told) => ended,
        served = serving => bail!("the metrics server ended: {served:?}"),
    };
    stop.cancel();
    watches.tasks.wait().await;
    ended
}

/// Stands by, leads, and hands over.
async fn lead(
    context: &Arc<Context>,
    namespaces: &[String],
    watches: &Watches,
    mut candidate: Option<&mut Candidate>,
    workers: u16,
    told: &CancellationToken,
) -> Result<()> {
    metrics::leader(false);
    let synced = async {
        for list in watches.synced() {
            list.cancelled().await;
        }
    };
    if told.run_until_cancelled(synced).await.is_none() {
        return Ok(());
    }
    if let Some(candidate) = candidate.as_deref_mut()
        && !candidate.lead(told).await
    {
        return Ok(());
    }
    metrics::leader(true);
    tracing::info!("leads");
    let work = {
        let (context, namespaces) = (context.clone(), namespaces.to_vec());
        tokio::spawn(async move {
            watches::verify(&context, &namespaces).await;
            context.add_all(Reason::First);
            controller::work(context, workers.into()).await;
        })
    };
    let kept = match candidate.as_deref_mut() {
        Some(candidate) => candidate.keep(told).await,
        None => {
            told.cancelled().await;
            Ok(())
        }
    };
    metrics::leader(false);
    context.queue.close();
    if kept.is_err() {
        work.abort();
        return kept;
    }
    tracing::info!("stops");
    hand_over(candidate, work).await
}

/// Lets running passes end, under the lease, and gives it back.
async fn hand_over(
    candidate: Option<&mut Candidate>,
    work: tokio::task::JoinHandle<()>,
) -> Result<()> {
    let ended = tokio::time::timeout(GRACE, work);
    match candidate {
        None => drop(ended.await),
        Some(candidate) => {
            let never = CancellationToken::new();
            tokio::select! {
                _ = ended => {}
                lost = candidate.keep(&never) => return lost,
            }
            candidate
                .release()
                .await
                .context("the lease was not released")?;
        }
    }
    Ok(())
}

/// Two processes with one name would both think that they lead.
fn identity(name: Option<&str>) -> String {
    let name = name
        .filter(|name| !name.is_empty())
        .unwrap_or("chat-operator");
    format!("{name}_{:016x}", rand::random::<u64>())
}

/// Cancelled by SIGTERM and SIGINT.
fn told_to_stop() -> Result<CancellationToken> {
    let told = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = told.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    Ok(told)
}
