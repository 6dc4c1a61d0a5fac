//! `cargo xtask test`: everything that must be true of a checkout.

mod on_cluster;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Result, bail};
use chat_kube::testing::CONTROL_PLANE_VARIABLE;
use chat_kube::{ControlPlane, Options};
use chat_local::Stores;
use chat_local::testing::STORES_VARIABLE;
use clap::{CommandFactory, ValueEnum};

use crate::cargo::{build_all, cargo};
use crate::report::Report;
use crate::steps::{self, Steps};
use crate::{files, generate, npm, packages, readme, tools};

#[derive(clap::Args)]
pub struct Args {
    /// Only one part of it.
    #[arg(long)]
    only: Option<Part>,
    /// Only tests whose name has this in it; checks are left out then.
    filter: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Format, lints, licences, generated files, and the tests of each crate.
    Rust,
    /// Lints, types, tests, build and size of the client.
    Client,
    /// The whole chat, by API clients.
    Stack,
    /// The whole chat, by browsers.
    Browser,
    /// The operator, on a real API server.
    Operator,
    /// The failure matrix, with the rows that take minutes.
    Matrix,
    /// The chat in Pods, on a Kubernetes node.
    Cluster,
}

pub async fn run(args: Args) -> Result<ExitCode> {
    let wants = |part| args.only.is_none_or(|only| only == part);
    let mut steps = Steps::default();
    let mut report = Report::default();
    let filter = args.filter.as_deref();
    let started = Instant::now();

    packages::install(&packages::STORES)?;
    packages::install(&packages::CLOCK)?;
    if wants(Part::Browser) || wants(Part::Cluster) {
        packages::install(&packages::BROWSER)?;
    }
    if filter.is_none() && wants(Part::Rust) {
        check_rust(&mut steps);
    }
    if wants(Part::Client) || wants(Part::Browser) {
        steps.run(
            "npm packages of the client",
            || npm::install(&npm::client()),
        );
    }
    if wants(Part::Browser) || wants(Part::Cluster) {
        steps.run("npm packages of the browser tests", || {
            npm::install(&npm::browser_tests())
        });
    }
    if wants(Part::Client) {
        check_client(&mut steps, &mut report, filter);
    }
    if wants(Part::Browser) || wants(Part::Client) {
        steps.run("build of the client", || {
            npm::script(&npm::client(), "build", &[])
        });
    }
    if filter.is_none() && wants(Part::Client) {
        steps.run("size of the client", || {
            npm::script(&npm::client(), "size", &[])
        });
    }
    let by_cargo =
        wants(Part::Rust) || wants(Part::Stack) || wants(Part::Operator) || wants(Part::Matrix);
    if by_cargo || wants(Part::Browser) {
        let servers = Servers::start(args.only, &mut steps).await?;
        steps.run("build of the services and the tests", build_all);
        if by_cargo {
            let variables: Vec<_> = servers.variables().collect();
            steps.run("tests of the crates and of the stack", || {
                nextest(&variables, &tests_of(args.only), filter, &mut report)
            });
        }
        if wants(Part::Browser) {
            steps.run("tests in the browser", || {
                browser(&servers, filter, &mut report)
            });
        }
        servers.stop().await?;
    }
    if wants(Part::Cluster) {
        // What is measured is optimised; what every change waits for is built already.
        let (tests, profile) = match args.only {
            Some(_) => (on_cluster::TESTS.to_owned(), "release"),
            None => (format!("({}) - {LONG}", on_cluster::TESTS), "dev"),
        };
        steps.run("build of the programs for the tests", build_all);
        on_cluster::run(&tests, profile, &mut steps, &mut report, filter).await?;
    }
    finish(&steps, &report, started)
}

/// What takes minutes is run when it is asked for.
const LONG: &str = "test(/^(.*::)?long_/)";

/// What `nextest` has to run: the operator's tests need an API server, its
/// examples of pure functions do not.
fn tests_of(only: Option<Part>) -> String {
    let here = match only {
        Some(Part::Rust) => {
            "not (package(chat-e2e) | (package(/^chat-(kube|operator)$/) & kind(test)))".to_owned()
        }
        Some(Part::Stack) => format!("package(chat-e2e) - binary(/^operator_/) - {LONG}"),
        Some(Part::Operator) => {
            "package(/^chat-(kube|operator)$/) | binary(/^operator_/)".to_owned()
        }
        Some(Part::Matrix) => "binary(matrix)".to_owned(),
        _ => format!("all() - {LONG}"),
    };
    format!("({here}) - ({})", on_cluster::TESTS)
}

/// What the tests of one run share.
struct Servers {
    stores: Option<Stores>,
    control_plane: Option<ControlPlane>,
}

impl Servers {
    async fn start(only: Option<Part>, steps: &mut Steps) -> Result<Self> {
        let mut servers = Self {
            stores: None,
            control_plane: None,
        };
        if only != Some(Part::Operator) {
            let started = Instant::now();
            let folder = files::of_this_run("stores")?;
            servers.stores = Some(Stores::start(&folder).await?);
            let name = "PostgreSQL, RabbitMQ and Redis for the tests";
            steps.note(name, started, None);
        }
        if only.is_none_or(|only| only == Part::Operator) {
            let started = Instant::now();
            chat_kube::tools().await?;
            steps.note("programs of Kubernetes", started, None);
            let started = Instant::now();
            let folder = files::of_this_run("control-plane")?;
            let plane = ControlPlane::start(&folder, Options::default()).await?;
            servers.control_plane = Some(plane);
            steps.note("Kubernetes control plane for the tests", started, None);
        }
        Ok(servers)
    }

    /// By which the tests find them.
    fn variables(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let stores = self.stores.iter();
        let control_plane = self.control_plane.iter();
        stores
            .map(|stores| (STORES_VARIABLE, stores.handle().file()))
            .chain(control_plane.map(|plane| (CONTROL_PLANE_VARIABLE, plane.file())))
    }

    async fn stop(self) -> Result<()> {
        if let Some(plane) = self.control_plane {
            let folder = plane.folder.clone();
            plane.stop().await?;
            std::fs::remove_dir_all(folder)?;
        }
        if let Some(stores) = self.stores {
            let folder = stores.handle().folder;
            stores.stop().await?;
            std::fs::remove_dir_all(folder)?;
        }
        Ok(())
    }
}

fn check_rust(steps: &mut Steps) {
    let cargo = |arguments: &[&str]| steps::run(cargo().args(arguments));
    steps.run("format", || cargo(&["fmt", "--all", "--check"]));
    steps.run("lints", || {
        cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    });
    steps.run("one TLS library", || {
        for unwanted in ["ring", "openssl-sys"] {
            // Not in the graph is an error of cargo tree, or no output at all.
            let tree = self::cargo()
                .args(["tree", "--workspace", "--invert", unwanted])
                .output()?;
            if !tree.stdout.is_empty() {
                bail!("{unwanted} is in the graph: cargo tree --invert {unwanted}");
            }
        }
        Ok(())
    });
    steps.run("licences and sources", || {
        let deny = tools::DENY.install()?;
        steps::run(
            Command::new(deny)
                .args([
                    "--log-level",
                    "error",
                    "check",
                    "bans",
                    "licenses",
                    "sources",
                ])
                .current_dir(files::root()),
        )
    });
    steps.run("generated files", || {
        if generate::run(true)? == ExitCode::SUCCESS {
            Ok(())
        } else {
            bail!("a generated file is out of date")
        }
    });
    steps.run("commands of the README", || {
        readme::check(&crate::Cli::command())
    });
}

fn check_client(steps: &mut Steps, report: &mut Report, filter: Option<&str>) {
    let client = npm::client();
    if filter.is_none() {
        steps.run("eslint", || npm::script(&client, "lint", &[]));
        steps.run("types of the client", || {
            npm::script(&client, "typecheck", &[])
        });
    }
    steps.run("tests of the client", || {
        let file = files::cache().join("client-junit.xml");
        forget(&file);
        let output = format!("--outputFile.junit={}", file.display());
        let mut arguments = vec!["--reporter=default", "--reporter=junit", output.as_str()];
        arguments.extend(filter.map(|_| "--passWithNoTests"));
        arguments.extend(filter.into_iter().flat_map(|name| ["-t", name]));
        let outcome = npm::script(&client, "test", &arguments);
        let read = report.add("client", &file);
        both(outcome, read)
    });
}

/// How long a run of everything gives each target hostile input, in seconds.
const FUZZING: (&str, &str) = ("FUZZ_SECONDS", "60");

fn nextest(
    variables: &[(&str, PathBuf)],
    expression: &str,
    filter: Option<&str>,
    report: &mut Report,
) -> Result<()> {
    let nextest = tools::NEXTEST.install()?;
    let file = files::root().join("target/nextest/xtask/junit.xml");
    forget(&file);
    let short = filter.is_some() || std::env::var_os(FUZZING.0).is_some();
    let fuzzing = (!short && expression == tests_of(None)).then_some(FUZZING);
    let outcome = steps::run(
        Command::new(nextest)
            .args(["nextest", "run", "--workspace", "--profile", "xtask"])
            .args(["--no-tests", "pass", "--filterset", expression])
            .args(filter)
            .current_dir(files::root())
            .env("CARGO_TARGET_DIR", files::target())
            // The trace of an error would hide what it says; panics keep theirs.
            .env("RUST_LIB_BACKTRACE", "0")
            .envs(variables.iter().map(|(name, file)| (name, file)))
            .envs(fuzzing),
    );
    let read = report.add("cargo", &file);
    both(outcome, read)
}

fn browser(servers: &Servers, filter: Option<&str>, report: &mut Report) -> Result<()> {
    let tests = npm::browser_tests();
    let file = files::cache().join("browser-junit.xml");
    forget(&file);
    // Built with the whole workspace: on its own it would be built anew.
    let mut command = Command::new(files::target().join("debug/examples/stack"));
    command
        .current_dir(&tests)
        .args(["node", "--test", "--test-concurrency=1"])
        .args(["--test-reporter=spec", "--test-reporter-destination=stdout"])
        .arg("--test-reporter=junit")
        .arg(format!("--test-reporter-destination={}", file.display()));
    if let Some(name) = filter {
        command.arg(format!("--test-name-pattern={name}"));
    }
    let mut pages: Vec<_> = std::fs::read_dir(&tests)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with("browser_") && name.ends_with(".mjs"))
        })
        .collect();
    pages.sort();
    let outcome = steps::run(command.args(pages).envs(servers.variables()));
    let read = report.add("browser", &file);
    both(outcome, read)
}

fn finish(steps: &Steps, report: &Report, started: Instant) -> Result<ExitCode> {
    steps::say("");
    steps::say("The slowest tests:");
    for (name, time) in report.slowest(10) {
        steps::say(&format!("{:>7.2} s  {name}", time.as_secs_f64()));
    }
    steps::say("");
    steps.print();
    steps::say(&format!("in all {:.0} s", started.elapsed().as_secs_f64()));
    let (passed, failed, skipped) = (report.passed, report.failed, report.skipped);
    steps::say(&format!(
        "{passed} passed, {failed} failed, {skipped} skipped"
    ));
    Ok(if steps.failed() == 0 && failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Neither error hides the other.
fn both(outcome: Result<()>, read: Result<()>) -> Result<()> {
    match (outcome, read) {
        (Err(failed), Err(unread)) => bail!("{failed:#}; {unread:#}"),
        (outcome, read) => outcome.and(read),
    }
}

/// A report of an earlier run must not be taken for one of this run.
fn forget(file: &Path) {
    let _ = std::fs::remove_file(file);
}
