use anyhow::Result;
use chat_operator::{check, crd, rbac, reference, render, run};
use clap::Parser;

/// Gives memory back after a peak: a start with a thousand chats reads all of their objects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Makes running chats of `ChatCluster` manifests.
#[derive(Parser)]
#[command(version)]
enum Command {
    Run(Box<run::Args>),
    /// Prints the rights that the operator needs, as the rules of a role.
    Rbac(rbac::Args),
    /// Prints the definition of `ChatCluster`.
    Crd,
    /// Prints every object of a ChatCluster, without a cluster.
    Render(Box<render::Args>),
    /// Prints the reference of `ChatCluster` as Markdown.
    Reference,
    /// Asks a running operator whether it is ready.
    CheckReady(check::Args),
}

#[tokio::main]
async fn main() -> Result<()> {
    match Command::parse() {
        Command::Run(args) => run::run(*args).await,
        Command::Rbac(args) => print(&rbac::rules(&args)?),
        Command::Crd => print(&crd::definition()?),
        Command::Render(args) => print(&render::run(&args)?),
        Command::Reference => print(&reference::page()),
        Command::CheckReady(args) => check::run(&args).await,
    }
}

fn print(text: &str) -> Result<()> {
    use std::io::Write;
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}
