//! `cargo xtask up`: the whole chat on this machine, from one command.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use chat_events::Service;
use chat_local::process::PidFile;
use chat_local::{Stack, StackOptions, Stores, Supervisor, kill_leftovers, ports, provision};

use crate::logs::Logs;
use crate::steps::{self, say, timed};
use crate::{demo, files, npm, packages, signals};

const DEFAULT_PORT: u16 = 8080;

#[derive(clap::Args)]
pub struct Args {
    /// Forget the data of earlier runs.
    #[arg(long)]
    fresh: bool,
    /// The port of the chat; 8080, or the next free one, when not given.
    #[arg(long)]
    port: Option<u16>,
    /// Make two demo accounts and show their passwords; this is the default.
    #[arg(long, overrides_with = "no_demo")]
    demo: bool,
    /// Make no demo accounts.
    #[arg(long, overrides_with = "demo")]
    no_demo: bool,
    /// Build the services faster and run them slower, for work on them.
    #[arg(long)]
    debug: bool,
}

impl Args {
    fn profile(&self) -> &'static str {
        if self.debug { "debug" } else { "release" }
    }
}

/// Everything that runs.
struct Chat {
    stores: Stores,
    keeper: Supervisor,
    stack: Stack,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let local = files::local();
    if let Some(address) = running() {
        bail!(
            "A chat of this checkout runs already, at {address}. Stop it with Ctrl-C there, or with `cargo xtask down`."
        );
    }
    packages::install(&packages::STORES)?;
    let left = kill_leftovers(&local.join("stack")) + kill_leftovers(&local.join("stores"));
    if left > 0 {
        say(&format!("killed {left} processes that an earlier run left"));
    }
    if args.fresh && local.exists() {
        std::fs::remove_dir_all(&local)
            .with_context(|| format!("{} cannot be removed.", local.display()))?;
    }
    let port = port(args.port)?;
    std::fs::create_dir_all(&local)
        .with_context(|| format!("{} cannot be made: check its permissions.", local.display()))?;
    let this = local.join("up.pid");
    PidFile::of_this_process().write(&this)?;
    std::fs::write(local.join("address"), format!("http://localhost:{port}"))?;
    let outcome = Box::pin(build_and_run(port, &args)).await;
    let _ = std::fs::remove_file(this);
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn build_and_run(port: u16, args: &Args) -> Result<()> {
    // Ctrl-C ends the build at once, as in every other build.
    build(args).await?;
    let stopping = signals::stop_requested()?;
    let chat = tokio::select! {
        chat = start(port, args.profile()) => chat?,
        () = stopping.cancelled() => return Ok(()),
    };
    serve(chat, args, &stopping).await
}

/// The address of the `up` that runs in this checkout.
pub fn running() -> Option<String> {
    let local = files::local();
    PidFile::read(&local.join("up.pid")).filter(PidFile::is_alive)?;
    Some(
        std::fs::read_to_string(local.join("address"))
            .unwrap_or_else(|_| "an unknown address".into()),
    )
}

async fn build(args: &Args) -> Result<()> {
    say("  building the five services; the first time takes some minutes");
    timed("services built", async {
        let packages = Service::ALL.map(|service| format!("--package=chat-{}", service.name()));
        let mut cargo = Command::new("cargo");
        cargo.arg("build").args(packages);
        if !args.debug {
            cargo.arg("--release");
        }
        cargo
            .current_dir(files::root())
            .env("CARGO_TARGET_DIR", files::target());
        steps::run(&mut cargo)
    })
    .await?;
    timed("npm packages of the client installed", async {
        npm::install(&npm::client())
    })
    .await?;
    timed("client built", async {
        steps::output(
            Command::new("npm")
                .args(["run", "--silent", "build"])
                .current_dir(npm::client()),
        )
    })
    .await?;
    Ok(())
}

async fn start(port: u16, profile: &str) -> Result<Chat> {
    let local = files::local();
    let stores = timed(
        "PostgreSQL, RabbitMQ and Redis started",
        Stores::start(&local.join("stores")),
    )
    .await?;
    let mut keeper = Supervisor::default();
    for daemon in stores.daemons() {
        keeper.watch(daemon);
    }
    let cluster = timed(
        "databases, queues and passwords ready",
        provision(&stores.handle(), "chat"),
    )
    .await?;
    let options = StackOptions {
        client: Some(npm::client().join("dist")),
        port: Some(port),
        ..StackOptions::new(local.join("stack"), files::target().join(profile))
    };
    let mut stack = Stack::prepare(&cluster, options)?;
    timed("databases migrated", stack.migrate()).await?;
    timed("five services and NGINX ready", stack.start_services()).await?;
    Ok(Chat {
        stores,
        keeper,
        stack,
    })
}

async fn serve(
    chat: Chat,
    args: &Args,
    stopping: &tokio_util::sync::CancellationToken,
) -> Result<()> {
    let Chat {
        stores,
        mut keeper,
        stack,
    } = chat;
    let accounts = if args.demo || !args.no_demo {
        timed("demo accounts ready", demo::accounts(stack.url())).await?
    } else {
        Vec::new()
    };
    say("");
    say(&format!("  The chat runs at {}", stack.url()));
    for account in &accounts {
        say(&format!(
            "  Sign in as {} with {}",
            account.email, account.password
        ));
    }
    let folders = [stack.logs(), stores.handle().folder.join("logs")];
    say(&format!(
        "  Logs: {} and {}",
        folders[0].display(),
        folders[1].display()
    ));
    say("  Ctrl-C stops everything; the data stays in .local");
    say("");
    let mut logs = Logs::of(&folders);
    tokio::select! {
        () = logs.stream() => {}
        () = stopping.cancelled() => {}
    }
    say("");
    keeper.stop().await;
    timed("NGINX and the services stopped", stack.stop()).await?;
    timed("PostgreSQL, RabbitMQ and Redis stopped", stores.stop()).await
}

/// The port that was asked for, or the first free one from 8080 on.
fn port(wanted: Option<u16>) -> Result<u16> {
    if let Some(port) = wanted {
        if !ports::is_free(port) {
            bail!(
                "Port {port} is in use by another program: stop that one, or choose another with --port."
            );
        }
        return Ok(port);
    }
    let Some(port) = (DEFAULT_PORT..DEFAULT_PORT + 100).find(|port| ports::is_free(*port)) else {
        bail!("No port from 8080 to 8179 is free: choose another with --port.");
    };
    if port != DEFAULT_PORT {
        say(&format!(
            "port {DEFAULT_PORT} is in use by another program, so the chat gets {port}"
        ));
    }
    Ok(port)
}
