//! PostgreSQL: the pool, migrations, and what an error means.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::Backoff;
use crate::config::PgArgs;
use crate::health::Part;

/// A request waits this long for a free connection: a burst waits for its turn, and
/// there is still time to answer when the database is away.
const ACQUIRE: Duration = Duration::from_secs(5);
/// Connections kept at rest. One more costs a login, which a burst should not pay first.
const KEPT: u32 = 2;
/// A database that is made together with its service takes a while to be there.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(120);
const CHECK: Duration = Duration::from_secs(2);
/// A connection that was used just now is not asked whether it lives.
const FRESH: Duration = Duration::from_millis(100);
const LIMITS: [(&str, &str); 2] = [("statement_timeout", "10s"), ("lock_timeout", "5s")];

/// Settings of PostgreSQL for the statements of a service.
pub type Settings = [(&'static str, &'static str)];

/// For statements that find each row by a key, and in the order of an index. A plan that
/// was made while the tables were small would read them whole until the next `analyze`,
/// one for the average key would read and sort all that a key with many rows has, and
/// a plan for each execution costs more than most executions.
pub const BY_KEY: [(&str, &str); 5] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];

/// A pool that connects when it is first used and again whenever it has to.
pub fn pool(args: &PgArgs, settings: &Settings) -> PgPool {
    PgPoolOptions::new()
        .max_connections(args.db_pool)
        .min_connections(KEPT.min(args.db_pool))
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .before_acquire(|connection, used| {
            Box::pin(async move {
                if used.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(
            options(args)
                .options(LIMITS)
                .options(settings.iter().copied()),
        )
}

/// One connection for one task: a pool asks before and after each use whether its
/// connections live, and this finds out when it is used.
pub struct Session {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Session {
    /// Connects when it is first used.
    pub fn new(args: &PgArgs, settings: &Settings) -> Self {
        Self {
            options: options(args)
                .options(LIMITS)
                .options(settings.iter().copied()),
            connection: None,
        }
    }

    pub async fn get(&mut self) -> sqlx::Result<&mut PgConnection> {
        let live = match self.connection.take() {
            Some(live) => live,
            None => timeout(ACQUIRE, PgConnection::connect_with(&self.options))
                .await
                .map_err(|_| sqlx::Error::PoolTimedOut)??,
        };
        Ok(self.connection.insert(live))
    }

    /// To be called when the connection itself failed: the next use makes a new one.
    pub fn lose(&mut self) {
        self.connection = None;
    }
}

/// Brings the database up to date; safe to run twice and side by side. Waits two minutes
/// for the database, for ever for another migration, and for as long as a statement
/// takes. Leaves alone what a newer release has added: an older one must be able to come
/// back.
pub async fn migrate(args: &PgArgs, migrator: &Migrator) -> anyhow::Result<()> {
    let mut database = connect_patiently(&options(args)).await?;
    Migrator::with_migrations(migrator.iter().cloned().collect())
        .set_ignore_missing(true)
        .run(&mut database)
        .await?;
    Ok(database.close().await?)
}

async fn connect_patiently(options: &PgConnectOptions) -> sqlx::Result<PgConnection> {
    let deadline = Instant::now() + MIGRATION_PATIENCE;
    let mut backoff = Backoff::default();
    loop {
        match PgConnection::connect_with(options).await {
            Err(error) if is_unavailable(&error) && Instant::now() < deadline => {
                tracing::info!(error = error.to_string(), "the migration waits");
                backoff.wait().await;
            }
            connected => return connected,
        }
    }
}

fn options(args: &PgArgs) -> PgConnectOptions {
    PgConnectOptions::new()
        .host(&args.db_host)
        .port(args.db_port)
        .username(&args.db_user)
        .password(args.db_password.expose_secret())
        .database(&args.db_name)
}

/// Keeps `part` true while the database answers and has every migration of this binary.
pub async fn watch(pool: PgPool, migrator: &'static Migrator, part: Part, stop: CancellationToken) {
    let wanted = migrator.iter().map(|migration| migration.version).max();
    let mut tick = tokio::time::interval(CHECK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        let look = sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
            .fetch_one(&pool);
        // Sooner than a request gives up.
        let applied: Option<Option<i64>> = match timeout(CHECK, look).await {
            Ok(answer) => answer.ok(),
            Err(_) => None,
        };
        part.set(applied.is_some_and(|applied| applied >= wanted));
    }
}

/// The database is away or too busy, and nothing is wrong with the statement.
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        // Connection, resources, operator intervention, lost serialisation and deadlock.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            ["08", "53", "57", "40"]
                .iter()
                .any(|class| code.starts_with(class))
                || code == "55P03"
        }),
        _ => false,
    }
}

/// Whether the statement broke the constraint of that name.
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.constraint() == Some(constraint))
}
