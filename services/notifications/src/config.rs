//! The settings of `notifications serve`.

use chat_kit::config::{AuthArgs, BrokerArgs, HttpArgs, PgArgs, RedisArgs};
use chat_kit::socket::SocketArgs;
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
