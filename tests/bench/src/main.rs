//! What the chat costs, beside physical limits and living peers of the same minutes: the
//! program behind `cargo xtask bench`. Every run is one line of JSON in the cache
//! folder; `report` writes `docs/performance.md` from them. The method stands there.

mod crowd;
mod day;
mod direct;
mod floor;
mod history;
mod idle;
mod machine;
mod paper;
mod peers;
mod plot;
mod presence;
mod record;
mod report;
mod room;
mod serve;
mod signin;
mod stage;
mod start;
mod storm;

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
    /// Sockets at rest: memory and work of each.
    Idle(idle::Args),
    /// Pages of long logs over HTTP, beside the same question by pgbench.
    History(history::Args),
    /// People come and go while others watch.
    Presence(presence::Args),
    /// A pod is killed, and all its sockets come back at once.
    Storm(storm::Args),
    /// From exec to ready, service by service.
    Start(start::Args),
    /// Passwords, beside the hash alone; messages while wrong ones are tried.
    Signin(signin::Args),
    /// What people do all day, and how many of them fit on a core.
    Day(day::Args),
    /// The same work by other servers, in turn with ours.
    Peers(peers::Args),
    /// Write docs/performance.md from the newest runs.
    Report(report::Args),
    /// A bare server of a floor.
    #[command(hide = true)]
    Serve { which: serve::Which },
    /// Sockets at rest, as the input says.
    #[command(hide = true)]
    Crowd,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().what {
        What::Floor => Box::pin(floor::all()).await,
        What::Direct(args) => Box::pin(direct::run(&args)).await,
        What::Room(args) => Box::pin(room::run(&args)).await,
        What::Idle(args) => Box::pin(idle::run(&args)).await,
        What::History(args) => Box::pin(history::run(&args)).await,
        What::Presence(args) => Box::pin(presence::run(&args)).await,
        What::Storm(args) => Box::pin(storm::run(&args)).await,
        What::Start(args) => Box::pin(start::run(&args)).await,
        What::Signin(args) => Box::pin(signin::run(&args)).await,
        What::Day(args) => Box::pin(day::run(&args)).await,
        What::Peers(args) => Box::pin(peers::run(&args)).await,
        What::Report(args) => report::run(&args),
        What::Serve { which } => serve::run(which).await,
        What::Crowd => Box::pin(crowd::run()).await,
    }
}
