//! The subcommands of auth, and the settings of `auth serve`.

use std::path::PathBuf;

use chat_kit::config::{self, BrokerArgs, HttpArgs, PgArgs};
use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;

#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, for a moment")]
pub enum Command {
    #[command(flatten)]
    Usual(config::Command<ServeArgs>),
    /// Make the file that BREACHED_PASSWORDS names.
    BreachedPasswords(BreachedPasswordsArgs),
}

#[derive(Debug, Args)]
pub struct BreachedPasswordsArgs {
    /// One password a line, or its SHA-1 as 40 hexadecimal digits with or without
    /// `:count` behind it. `-` reads the standard input.
    pub list: PathBuf,
    /// The file to write.
    pub file: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub http: HttpArgs,
    #[command(flatten)]
    pub pg: PgArgs,
    #[command(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    pub auth: AuthArgs,
}

#[derive(Clone, Debug, Args)]
pub struct AuthArgs {
    /// At least 32 bytes. The key that signs access tokens is derived from it.
    #[arg(long, env = "JWT_KEY", hide_env_values = true)]
    pub jwt_key: SecretString,
    /// A second key, published and accepted, but not used to sign. To rotate without
    /// a refused token: first publish the new key here, then let the two change
    /// places, then drop the old one.
    #[arg(long, env = "JWT_KEY_PREVIOUS", hide_env_values = true)]
    pub jwt_key_previous: Option<SecretString>,
    /// Sign-ins, and apart from them sign-ups, that one address (IPv6: one /64) may
    /// try per minute.
    #[arg(long, env = "SIGNIN_PER_MINUTE", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub signin_per_minute: u32,
    /// Fewest characters of a new password.
    #[arg(long, env = "PASSWORD_MIN", default_value_t = 8, value_parser = clap::value_parser!(u64).range(8..=128))]
    pub password_min: u64,
    /// File of passwords that are known from breaches, and refused when somebody
    /// chooses one. `auth breached-passwords LIST FILE` makes it of a list. It is read
    /// at the start, and takes 5 bytes of memory for each password.
    #[arg(long, env = "BREACHED_PASSWORDS")]
    pub breached_passwords: Option<PathBuf>,
    /// Memory of one password hash in KiB. Raise it, and each password is hashed anew
    /// at its next sign-in.
    #[arg(long, env = "ARGON2_MEMORY", default_value_t = 19_456, value_parser = clap::value_parser!(u32).range(19_456..=1_048_576))]
    pub argon2_memory: u32,
    /// Passes of one password hash.
    #[arg(long, env = "ARGON2_PASSES", default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..=64))]
    pub argon2_passes: u32,
}
