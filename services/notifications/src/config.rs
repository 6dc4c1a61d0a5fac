//! The settings of `notifications serve`.

use chat_events::limits;
use chat_kit::config::{AuthArgs, BrokerArgs, HttpArgs, PgArgs, RedisArgs};
use clap::Args;

#[derive(Clone, Debug, Args)]
pub struct Settings {
    #[command(flatten)]
    pub http: HttpArgs,
    #[command(flatten)]
    pub database: PgArgs,
    #[command(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub auth: AuthArgs,
    #[command(flatten)]
    pub sockets: SocketArgs,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct SocketArgs {
    /// Sockets that one user may have on this pod.
    #[arg(long, env = "SOCKETS_PER_USER", default_value_t = limits::SOCKETS_PER_USER)]
    pub sockets_per_user: usize,
    /// Sockets that one address may have on this pod.
    #[arg(long, env = "SOCKETS_PER_ADDRESS", default_value_t = limits::SOCKETS_PER_ADDRESS)]
    pub sockets_per_address: usize,
    /// Seconds between two heartbeats of a socket, at most 25.
    #[arg(
        long,
        env = "HEARTBEAT_SECONDS",
        default_value_t = 20,
        value_parser = clap::value_parser!(u64).range(1..=limits::HEARTBEAT.as_secs())
    )]
    pub heartbeat_seconds: u64,
}
