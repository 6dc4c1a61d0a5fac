//! Conversations, messages and read marks: the log that everybody else hints at.

mod config;
mod conversations;
mod lease;
mod messages;
mod partitions;
mod people;
mod router;
mod state;
mod writer;

use std::io::Write;

use chat_events::Service;
use chat_kit::cache::{Cache, Flights};
use chat_kit::config::{Cli, Command};
use chat_kit::outbox::Outbox;
use chat_kit::server::Process;
use chat_kit::{config as settings, dead_letters, pg};
use sqlx::migrate::Migrator;

use crate::config::ServeArgs;
use crate::partitions::Partitions;
use crate::state::AppState;
use crate::writer::Writer;

static MIGRATOR: Migrator = sqlx::migrate!();

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match settings::parse::<Cli<ServeArgs>>().command {
        Command::Serve(args) => serve(args).await,
        Command::Migrate(args) => pg::migrate(&args, &MIGRATOR).await,
        Command::Openapi => Ok(writeln!(out, "{}", router::router().1.to_pretty_json()?)?),
        Command::Config => Ok(write!(out, "{}", settings::table::<Cli<ServeArgs>>())?),
        Command::DeadLetters(args) => dead_letters::run(Service::Messages, &args).await,
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let process = Process::start(Service::Messages, &args.http)?;
    let pool = process.database(&args.pg, &pg::BY_KEY, &MIGRATOR);
    let publisher = process.publisher(&args.broker);
    let consumers = process.consumers(&args.broker);
    let identity = process.identity(&args.auth.auth_url);
    let cache = Cache::new(&args.redis, &args.http.cluster, Service::Messages.name())?;
    let outbox = Outbox::default();

    process.follow_revocations(consumers.clone(), identity.clone());
    process.spawn(people::consume(
        consumers.clone(),
        pool.clone(),
        process.stop.clone(),
    ));
    process.spawn(
        outbox
            .clone()
            .relay(pool.clone(), publisher.clone(), process.stop.clone()),
    );
    // Among the tasks that the publisher outlives: the last batches are
    // published before their partitions are handed over.
    process.tasks().spawn(
        Partitions::new(
            &args.pg,
            args.http.pod_name.clone(),
            consumers,
            Writer::new(&args.pg, publisher, args.http.pod_name.clone()),
        )
        .run(process.stop.clone()),
    );

    let (router, openapi) = router::router();
    let state = AppState {
        pool,
        cache,
        flights: Flights::default(),
        outbox,
        identity,
    };
    process.serve(router.with_state(state), openapi).await
}
