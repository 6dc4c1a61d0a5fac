//! The command line and the settings of socket-handler.

use chat_kit::config::{AuthArgs, BrokerArgs, HttpArgs, RedisArgs};
use chat_kit::socket::SocketArgs;
use clap::{Args, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service.
    Serve(Box<Settings>),
    /// Print the OpenAPI document.
    Openapi,
    /// Print the table of settings as Markdown.
    Config,
}

#[derive(Clone, Debug, Args)]
pub struct Settings {
    #[command(flatten)]
    pub http: HttpArgs,
    #[command(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub auth: AuthArgs,
    /// Where messages answers for positions, members and missed events.
    #[arg(long, env = "MESSAGES_URL", default_value = "http://messages-srv:3000")]
    pub messages_url: String,
    /// Where users finds a peer by name.
    #[arg(long, env = "USERS_URL", default_value = "http://users-srv:3000")]
    pub users_url: String,
    #[command(flatten)]
    pub sockets: SocketArgs,
}
