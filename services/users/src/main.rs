//! The directory of users: names, profiles, and who is online.

use std::io::Write;

use chat_events::Service;
use chat_kit::cache::Cache;
use chat_kit::config::{Cli, Command, parse, table};
use chat_kit::outbox::Outbox;
use chat_kit::presence::Leases;
use chat_kit::server::Process;
use chat_kit::{dead_letters, pg};
use sqlx::migrate::Migrator;

use crate::config::Settings;
use crate::pages::Pages;
use crate::presence::Presence;
use crate::state::AppState;

mod config;
mod consumers;
mod directory;
mod pages;
mod presence;
mod router;
mod state;
mod users;

static MIGRATOR: Migrator = sqlx::migrate!();

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match parse::<Cli<Settings>>().command {
        Command::Serve(settings) => serve(settings).await,
        Command::Migrate(database) => pg::migrate(&database, &MIGRATOR).await,
        Command::Openapi => {
            let (_, openapi) = router::router();
            Ok(writeln!(
                std::io::stdout(),
                "{}",
                openapi.to_pretty_json()?
            )?)
        }
        Command::Config => Ok(write!(std::io::stdout(), "{}", table::<Cli<Settings>>())?),
        Command::DeadLetters(arguments) => dead_letters::run(Service::Users, &arguments).await,
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let process = Process::start(Service::Users, &settings.http)?;
    let stop = process.stop.clone();
    let database = process.database(&settings.database, &[], &MIGRATOR);
    let publisher = process.publisher(&settings.broker);
    let consumers = process.consumers(&settings.broker);
    let identity = process.identity(&settings.auth.auth_url);
    process.follow_revocations(consumers.clone(), identity.clone());
    let outbox = Outbox::default();
    let relay = outbox.clone();
    process.spawn(relay.relay(database.clone(), publisher, stop.clone()));

    let leases = Leases::new(&settings.redis, &settings.http.cluster)?;
    let (presence, work) = Presence::new(database.clone(), leases, outbox.clone());
    process.spawn(work.run(stop.clone()));
    process.spawn(presence.clone().sweep(stop));
    consumers::start(&process, &consumers, &presence);

    let cache = Cache::new(
        &settings.redis,
        &settings.http.cluster,
        Service::Users.name(),
    )?;
    let (router, openapi) = router::router();
    let state = AppState {
        pages: Pages::new(database.clone(), cache),
        database,
        outbox,
        identity,
    };
    process.serve(router.with_state(state), openapi).await
}
