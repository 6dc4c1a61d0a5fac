//! Configuration from the environment, or from a file named by `NAME_FILE`, so
//! that a mounted Secret never has to become an environment variable.

use std::ffi::OsString;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use secrecy::SecretString;

/// The subcommands that every service with a database has; `S` is what `serve` needs.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli<S: Args> {
    #[command(subcommand)]
    pub command: Command<S>,
}

#[derive(Debug, Subcommand)]
pub enum Command<S: Args> {
    /// Run the service.
    Serve(S),
    /// Bring the database to the version of this binary, then exit.
    Migrate(PgArgs),
    /// Print the OpenAPI document.
    Openapi,
    /// Print the table of settings as Markdown.
    Config,
    /// List or replay events that could not be handled.
    DeadLetters(DeadLetterArgs),
}

#[derive(Debug, Args)]
pub struct DeadLetterArgs {
    #[command(subcommand)]
    pub action: DeadLetterAction,
    #[command(flatten)]
    pub broker: BrokerArgs,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum DeadLetterAction {
    /// Print each dead letter with its queue and the reason.
    List,
    /// Put every dead letter back into the queue it came from.
    Replay,
}

#[derive(Clone, Debug, Args)]
pub struct HttpArgs {
    /// Address to listen on.
    #[arg(long, env = "HOST", default_value = "0.0.0.0")]
    pub host: IpAddr,
    /// Port of the public HTTP interface.
    #[arg(long, env = "PORT", default_value_t = 3000)]
    pub port: u16,
    /// Port of /livez, /readyz, /readyz/requests and /metrics.
    #[arg(long, env = "ADMIN_PORT", default_value_t = 9000)]
    pub admin_port: u16,
    /// Origins that may write and open sockets, separated by commas. With an
    /// https origin, cookies are Secure and carry the `__Host-` prefix.
    #[arg(
        long,
        env = "PUBLIC_ORIGINS",
        value_delimiter = ',',
        default_value = "http://localhost:8080"
    )]
    pub public_origins: Vec<String>,
    /// Name of the ChatCluster: issuer and audience of tokens, prefix of Redis keys.
    #[arg(long, env = "CLUSTER", default_value = "chat")]
    pub cluster: String,
    /// Name of this process in leases and queues; a random one when not set.
    #[arg(long, env = "POD_NAME", default_value_t = uuid::Uuid::new_v4().simple().to_string())]
    pub pod_name: String,
    /// Seconds that open requests and sockets get to end after SIGTERM. The grace
    /// period of the pod must be 5 s longer.
    #[arg(
        long,
        env = "DRAIN_SECONDS",
        default_value_t = 25,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub drain_seconds: u64,
    /// Which log lines to print, such as `info` or `info,sqlx=warn`.
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
    /// Export traces to this OTLP endpoint (HTTP, protobuf).
    #[arg(long, env = "OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,
}

impl HttpArgs {
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    pub fn secure_cookies(&self) -> bool {
        self.public_origins
            .iter()
            .any(|origin| origin.starts_with("https://"))
    }
}

#[derive(Clone, Debug, Args)]
pub struct PgArgs {
    /// PostgreSQL server.
    #[arg(long, env = "DB_HOST", default_value = "localhost")]
    pub db_host: String,
    /// Its port.
    #[arg(long, env = "DB_PORT", default_value_t = 5432)]
    pub db_port: u16,
    /// The role of the service.
    #[arg(long, env = "DB_USER")]
    pub db_user: String,
    /// Password of the role.
    #[arg(long, env = "DB_PASSWORD", hide_env_values = true)]
    pub db_password: SecretString,
    /// The database of the service.
    #[arg(long, env = "DB_NAME")]
    pub db_name: String,
    /// Connections that one process opens at most.
    #[arg(long, env = "DB_POOL", default_value_t = 10)]
    pub db_pool: u32,
}

#[derive(Clone, Debug, Args)]
pub struct BrokerArgs {
    /// RabbitMQ server.
    #[arg(long, env = "RMQ_HOST", default_value = "localhost")]
    pub rmq_host: String,
    /// Its port.
    #[arg(long, env = "RMQ_PORT", default_value_t = 5672)]
    pub rmq_port: u16,
    /// The virtual host of the ChatCluster.
    #[arg(long, env = "RMQ_VHOST", default_value = "/")]
    pub rmq_vhost: String,
    /// The user of the service.
    #[arg(long, env = "RMQ_USER")]
    pub rmq_user: String,
    /// Password of the user.
    #[arg(long, env = "RMQ_PASSWORD", hide_env_values = true)]
    pub rmq_password: SecretString,
}

#[derive(Clone, Debug, Args)]
pub struct RedisArgs {
    /// Redis server as host:port.
    #[arg(long, env = "REDIS_HOST", default_value = "localhost:6379")]
    pub redis_host: String,
    /// The user of the service.
    #[arg(long, env = "REDIS_USER", default_value = "default")]
    pub redis_user: String,
    /// Password of the user.
    #[arg(long, env = "REDIS_PASSWORD", hide_env_values = true)]
    pub redis_password: SecretString,
}

#[derive(Clone, Debug, Args)]
pub struct AuthArgs {
    /// Where auth publishes its keys and the ended sessions.
    #[arg(long, env = "AUTH_URL", default_value = "http://auth-srv:3000")]
    pub auth_url: String,
}

/// Reads the command line, the environment and the `NAME_FILE` files. Prints
/// help or a plain error and ends the process when that is what was asked for
/// or what is needed.
pub fn parse<C: Parser>() -> C {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if let Err(error) = add_files::<C>(&mut arguments) {
        C::command().error(clap::error::ErrorKind::Io, error).exit();
    }
    let matches = C::command().get_matches_from(arguments);
    C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Appends `--name=content` for each setting of the chosen subcommand whose
/// `NAME_FILE` is set.
fn add_files<C: CommandFactory>(arguments: &mut Vec<OsString>) -> Result<(), String> {
    let command = C::command();
    let Some(chosen) = arguments
        .get(1)
        .and_then(|name| name.to_str())
        .and_then(|name| command.find_subcommand(name))
    else {
        return Ok(());
    };
    let mut from_files = Vec::new();
    for argument in chosen.get_arguments() {
        let (Some(long), Some(env)) = (argument.get_long(), argument.get_env()) else {
            continue;
        };
        let variable = format!("{}_FILE", env.to_string_lossy());
        let Some(path) = std::env::var_os(&variable) else {
            continue;
        };
        let content = std::fs::read_to_string(&path)
            .map_err(|error| format!("{variable} names {}: {error}", path.display()))?;
        let content = content.trim_end_matches(['\r', '\n']);
        from_files.push(format!("--{long}={content}").into());
    }
    // Before a further subcommand, such as `list` of `dead-letters`.
    arguments.splice(2..2, from_files);
    Ok(())
}

/// The settings of `serve` as a Markdown table.
pub fn table<C: CommandFactory>() -> String {
    let command = C::command();
    let mut table = String::from("| variable | default | meaning |\n| --- | --- | --- |\n");
    let arguments = command
        .find_subcommand("serve")
        .into_iter()
        .flat_map(|serve| serve.get_arguments());
    for argument in arguments {
        let Some(env) = argument.get_env() else {
            continue;
        };
        let default = match argument.get_default_values() {
            [] if argument.is_required_set() => "required".to_owned(),
            [] => "not set".to_owned(),
            _ if env == "POD_NAME" => "random".to_owned(),
            values => values
                .iter()
                .map(|value| format!("`{}`", value.to_string_lossy()))
                .collect::<Vec<_>>()
                .join(", "),
        };
        let help = argument.get_help().map(ToString::to_string);
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | {default} | {} |",
            env.to_string_lossy(),
            help.unwrap_or_default()
        );
    }
    table
}
