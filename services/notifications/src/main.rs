//! Tells users of new messages, also those who are away, and tells everybody
//! who is online.

use std::io::Write;
use std::sync::Arc;

use chat_events::Service;
use chat_kit::config::{Cli, Command, parse, table};
use chat_kit::outbox::Outbox;
use chat_kit::presence::{Leases, Presence};
use chat_kit::server::Process;
use chat_kit::{dead_letters, pg};
use sqlx::migrate::Migrator;

use crate::config::Settings;
use crate::socket::Hub;
use crate::state::AppState;

mod audience;
mod config;
mod consumers;
mod earlier;
mod inbox;
mod notices;
mod people;
mod router;
mod socket;
mod state;

static MIGRATOR: Migrator = sqlx::migrate!();

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
        Command::DeadLetters(arguments) => {
            dead_letters::run(Service::Notifications, &arguments).await
        }
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let process = Process::start(Service::Notifications, &settings.http)?;
    let stop = process.stop.clone();
    let database = process.database(&settings.database, &pg::BY_KEY, &MIGRATOR);
    let publisher = process.publisher(&settings.broker);
    let consumers = process.consumers(&settings.broker);
    let identity = process.identity(&settings.auth.auth_url);
    let outbox = Outbox::default();
    process.spawn(
        outbox
            .clone()
            .relay(database.clone(), publisher.clone(), process.finish()),
    );
    let leases = Leases::new(&settings.redis, &settings.http.cluster)?;
    let presence = Presence::new(leases, &settings.http.pod_name, publisher.clone());
    process.spawn(presence.clone().keep(stop.clone(), settings.http.drain()));

    let hub = Hub::new(settings.sockets);
    process.spawn(hub.clone().turn(identity.clone(), stop.clone()));
    let state = AppState {
        database,
        outbox,
        publisher,
        audiences: Arc::default(),
        identity,
        presence,
        hub,
        origins: settings.http.public_origins.clone().into(),
        sessions: process.tasks(),
    };
    consumers::start(&process, &consumers, &state);
    let (router, openapi) = router::router();
    process.serve(router.with_state(state), openapi).await
}
