//! The chat socket: takes messages from clients to the broker, and what is
//! stored from the broker to clients.

use std::io::Write;
use std::sync::Arc;

use chat_events::Service;
use chat_kit::config::{parse, table};
use chat_kit::presence::{Leases, Presence};
use chat_kit::server::Process;
use chat_kit::socket::Wheel;

use crate::config::{Cli, Command, Settings};
use crate::fan_out::FanOut;
use crate::hub::Hub;
use crate::messages::Messages;
use crate::session::Surroundings;
use crate::state::AppState;
use crate::users::Users;

mod chat;
mod config;
mod drain;
mod fan_out;
mod frame;
mod hub;
mod messages;
mod router;
mod session;
mod state;
mod upgrade;
mod users;

// Tests count what is allocated with one of their own.
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match parse::<Cli>().command {
        Command::Serve(settings) => serve(*settings).await?,
        Command::Openapi => writeln!(out, "{}", router::router().1.to_pretty_json()?)?,
        Command::Config => write!(out, "{}", table::<Cli>())?,
    }
    Ok(())
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let process = Process::start(Service::SocketHandler, &settings.http)?;
    let client = messages::client()?;
    let origins = &settings.http.public_origins;
    let origin = origins.first().map_or("", String::as_str);
    let messages = Messages::new(client.clone(), &settings.messages_url, origin);
    let identity = process.identity(&settings.auth.auth_url);
    let publisher = process.publisher(&settings.broker);
    let consumers = process.consumers(&settings.broker);
    let leases = Leases::new(&settings.redis, &settings.http.cluster)?;
    let presence = Presence::new(leases, &settings.http.pod_name, publisher.clone());
    let hub = Hub::new(settings.sockets);
    let wheel = Arc::new(Wheel::new(settings.sockets.heartbeat_seconds));
    let ready = process.readiness.part_to_start("fan-out");
    let fan_out = FanOut::new(hub.clone(), identity.clone(), messages.clone(), ready);
    let (stop, pod) = (process.stop.clone(), settings.http.pod_name.clone());

    process.spawn(presence.clone().keep(stop.clone(), settings.http.drain()));
    // Until the last socket has closed: pushes and the clock.
    let finish = process.finish();
    process.spawn(fan_out.clone().follow(consumers, pod, finish.clone()));
    process.spawn(fan_out.recover(stop.clone()));
    process.spawn({
        let (wheel, identity) = (wheel.clone(), identity.clone());
        async move { wheel.turn(identity, finish).await }
    });
    process.spawn(drain::drain(hub.clone(), stop, settings.http.drain()));

    let (router, document) = router::router();
    let state = AppState {
        identity,
        origins: origins.as_slice().into(),
        users: Users::new(client, &settings.users_url),
        presence: Arc::new(presence),
        tasks: process.tasks(),
        sessions: Arc::new(Surroundings {
            hub,
            messages,
            publisher,
            heartbeat: settings.sockets.heartbeat_seconds,
        }),
        wheel,
    };
    process.serve(router.with_state(state), document).await
}
