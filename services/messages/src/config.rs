//! What `serve` needs to know.

use chat_kit::config::{AuthArgs, BrokerArgs, HttpArgs, PgArgs, RedisArgs};
use clap::Args;

#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub http: HttpArgs,
    #[command(flatten)]
    pub pg: PgArgs,
    #[command(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub auth: AuthArgs,
}
