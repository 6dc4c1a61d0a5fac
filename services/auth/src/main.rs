//! auth: accounts, passwords, sessions, and the keys that tokens are signed with.

use std::io::Write;
use std::sync::Arc;

use chat_events::Service;
use chat_kit::config::{Command, parse, table};
use chat_kit::identity::Identity;
use chat_kit::outbox::Outbox;
use chat_kit::server::Process;
use chat_kit::{dead_letters, pg};
use sqlx::migrate::Migrator;

mod account;
mod audit;
mod background;
mod config;
mod cookies;
mod hasher;
mod keys;
mod name;
mod no_body;
mod password;
mod pepper;
mod router;
mod session;
mod state;
mod throttle;

use config::ServeArgs;
use password::{Rules, breached};

static MIGRATOR: Migrator = sqlx::migrate!();

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let usual = match parse::<config::Cli>().command {
        config::Command::Usual(command) => command,
        config::Command::BreachedPasswords(args) => {
            let count = breached::build(&args.list, &args.file)?;
            return Ok(writeln!(out, "{count} passwords")?);
        }
    };
    match usual {
        Command::Serve(args) => serve(args).await?,
        Command::Migrate(args) => pg::migrate(&args, &MIGRATOR).await?,
        Command::Openapi => writeln!(out, "{}", router::router().1.to_pretty_json()?)?,
        Command::Config => write!(out, "{}", table::<config::Cli>())?,
        Command::DeadLetters(args) => dead_letters::run(Service::Auth, &args).await?,
    }
    Ok(())
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let process = Process::start(Service::Auth, &args.http)?;
    let (http, auth) = (&args.http, &args.auth);
    let breached = auth.breached_passwords.as_deref().map(breached::read);
    let passwords = Rules {
        cluster: http.cluster.clone(),
        shortest: auth.password_min as usize,
        breached: breached.transpose()?,
    };
    let keys = keys::Keys::derive(&http.cluster, &auth.jwt_key, auth.jwt_key_previous.as_ref())?;
    let identity = Identity::of_auth(&http.cluster, http.secure_cookies(), &keys.published());
    let app = state::App {
        pool: process.database(&args.pg, &[], &MIGRATOR),
        outbox: Outbox::default(),
        identity,
        keys: Arc::new(keys),
        hasher: hasher::Hasher::new(auth.argon2_memory, auth.argon2_passes),
        cookies: cookies::Cookies::new(http.secure_cookies()),
        passwords: Arc::new(passwords),
        signin_per_minute: auth.signin_per_minute,
    };
    let stop = process.stop.clone();
    let part = |name| process.readiness.part(name);
    process.spawn(background::load_pepper(
        app.clone(),
        part("pepper"),
        stop.clone(),
    ));
    process.spawn(background::follow_revocations(
        app.clone(),
        part("sessions"),
        stop.clone(),
    ));
    process.spawn(background::sweep(app.clone(), stop.clone()));
    let consumers = process.consumers(&args.broker);
    process.spawn(account::names::follow(
        consumers.clone(),
        app.pool.clone(),
        stop.clone(),
    ));
    process.follow_revocations(consumers, app.identity.clone());
    let publisher = process.publisher(&args.broker);
    process.spawn(app.outbox.clone().relay(app.pool.clone(), publisher, stop));
    let (routes, document) = router::router();
    process.serve(routes.with_state(app), document).await
}
