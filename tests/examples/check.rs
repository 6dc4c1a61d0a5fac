//! Judges a recorded history and prints a verdict for each invariant:
//! `cargo run -p chat-e2e --release --example check -- history.jsonl`.
//!
//! `--clean COUNT FILE` writes a clean history of about so many operations instead,
//! to measure with.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use chat_e2e::checker::{Table, check};
use chat_e2e::history::History;
use chat_e2e::history::clean::{self, Size};

const BUFFER: usize = 1024 * 1024;

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--clean", count, file] => {
            write_clean(count.parse()?, file)?;
            Ok(ExitCode::SUCCESS)
        }
        [file] => judge(file),
        _ => bail!("which history? (check FILE, or check --clean COUNT FILE)"),
    }
}

fn judge(file: &str) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let lines = BufReader::with_capacity(BUFFER, File::open(file).context(file.to_owned())?);
    let history = History::read(lines)?;
    let read = begun.elapsed();
    let verdicts = check(&history);
    let judged = begun.elapsed() - read;
    let broken = verdicts.iter().any(|(_, verdict)| verdict.is_err());
    let table = Table {
        history: &history,
        verdicts: &verdicts,
    };
    let mut out = std::io::stdout().lock();
    write!(out, "{table}")?;
    writeln!(
        out,
        "read in {:.1} s, judged in {:.1} s",
        read.as_secs_f64(),
        judged.as_secs_f64()
    )?;
    Ok(if broken {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn write_clean(operations: usize, file: &str) -> anyhow::Result<()> {
    let mut lines = BufWriter::with_capacity(BUFFER, File::create(file)?);
    let mut failed = None;
    clean::generate(1, Size::of(operations), |record| {
        let written = serde_json::to_writer(&mut lines, &record)
            .map_err(std::io::Error::from)
            .and_then(|()| lines.write_all(b"\n"));
        failed = failed.take().or(written.err());
    });
    lines.flush()?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}
