//! What the chat costs, beside physical limits and living peers of the same minutes: the
//! program behind `cargo xtask bench`. Every run is one line of JSON in the cache
//! folder; `report` writes `docs/performance.md` from them. The method stands there.

mod direct;
mod floor;
mod machine;
mod record;
mod room;
mod serve;
mod stage;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What the machine can do with nothing around it: every floor for itself.
    Floor,
    /// Two by two: what a durable message costs.
    Direct(direct::Args),
    /// One conversation of many: what a delivery costs.
    Room(room::Args),
    /// A bare server of a floor.
    #[command(hide = true)]
    Serve { which: serve::Which },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().what {
        What::Floor => Box::pin(floor::all()).await,
        What::Direct(args) => Box::pin(direct::run(&args)).await,
        What::Room(args) => Box::pin(room::run(&args)).await,
        What::Serve { which } => serve::run(which).await,
    }
}
