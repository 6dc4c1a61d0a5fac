//! One line per step, with its time; and running programs.

use std::io::{IsTerminal, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What became of a step.
pub struct Step {
    pub name: String,
    pub time: Duration,
    pub error: Option<String>,
}

/// The steps so far; a failed one does not stop the next.
#[derive(Default)]
pub struct Steps {
    done: Vec<Step>,
}

impl Steps {
    /// Does `work` and notes how it went.
    pub fn run(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        say(&format!("── {name}"));
        let started = Instant::now();
        let error = work().err().map(|error| format!("{error:#}"));
        self.note(name, started, error);
    }

    pub fn note(&mut self, name: &str, started: Instant, error: Option<String>) {
        let step = Step {
            name: name.to_owned(),
            time: started.elapsed(),
            error,
        };
        say(&step.line());
        self.done.push(step);
    }

    pub fn failed(&self) -> usize {
        self.done.iter().filter(|step| step.error.is_some()).count()
    }

    pub fn print(&self) {
        for step in &self.done {
            say(&step.line());
        }
    }
}

impl Step {
    fn line(&self) -> String {
        let seconds = self.time.as_secs_f64();
        match &self.error {
            None => format!("{} {} ({seconds:.1} s)", paint("✓", "32"), self.name),
            Some(error) => format!(
                "{} {} ({seconds:.1} s): {error}",
                paint("✗", "31"),
                self.name
            ),
        }
    }
}

/// Waits for a part of something larger, and says how long it took.
pub async fn timed<T>(name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let terminal = std::io::stdout().is_terminal();
    if terminal {
        let _ = write!(std::io::stdout(), "… {name}\r");
        let _ = std::io::stdout().flush();
    }
    let started = Instant::now();
    let outcome = work.await;
    if terminal {
        // The line that said what is under way.
        let _ = write!(std::io::stdout(), "\r\u{1b}[2K");
    }
    if outcome.is_ok() {
        done(name, started.elapsed());
    }
    outcome
}

/// The line of a part that somebody else has waited for.
pub fn done(name: &str, time: Duration) {
    let step = Step {
        name: name.to_owned(),
        time,
        error: None,
    };
    say(&step.line());
}

pub fn say(line: &str) {
    // Without a terminal there is nobody to tell about a closed pipe.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Runs a program whose output people see; an error when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot start {name}"))?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

/// Runs a program for its output.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

fn paint(text: &str, colour: &str) -> String {
    if std::io::stdout().is_terminal() {
        format!("\u{1b}[{colour}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
