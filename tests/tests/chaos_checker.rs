//! The checker is tested first: it finds nothing in clean histories, and everything
//! that was planted.

use std::io::{BufWriter, Write};
use std::time::Instant;

use anyhow::{Context, ensure};
use chat_e2e::checker::{INVARIANTS, PLANTED, Planted, Plot, alarms, check};
use chat_e2e::history::clean::{self, Size};
use chat_e2e::history::{Function, History, Kind, Recorder};
use chat_events::UserId;
use rand::SeedableRng;
use rand::rngs::StdRng;

const CLEAN: u64 = 200;
const SEEDS: u64 = 50;
/// Unoptimised; `examples/check.rs` measures a million.
const MANY: usize = 20_000;

#[test]
fn clean_histories_raise_no_alarm() -> anyhow::Result<()> {
    for seed in 0..CLEAN {
        let history = History::of(&clean::records(seed, Size::SMALL))?;
        let alarms = alarms(&history);
        ensure!(alarms.is_empty(), "seed {seed}: {alarms:#?}");
        // A checker that looks at nothing would be silent as well.
        for (invariant, verdict) in check(&history) {
            ensure!(
                verdict != Ok(0),
                "seed {seed} tells {} nothing",
                invariant.name
            );
        }
    }
    Ok(())
}

#[test]
fn each_planted_violation_is_found_in_every_seed_by_the_invariant_meant() -> anyhow::Result<()> {
    for planted in PLANTED {
        for seed in 0..SEEDS {
            find(planted, seed)
                .with_context(|| format!("{}, seed {seed}: {}", planted.invariant, planted.what))?;
        }
    }
    Ok(())
}

fn find(planted: &Planted, seed: u64) -> anyhow::Result<()> {
    let mut plot = Plot {
        records: clean::records(seed, Size::SMALL),
        rng: StdRng::seed_from_u64(seed),
    };
    (planted.plant)(&mut plot).context("there was no place for it")?;
    let history = History::of(&plot.records)?;
    let broken = check(&history)
        .into_iter()
        .any(|(invariant, verdict)| invariant.name == planted.invariant && verdict.is_err());
    ensure!(broken, "not found; {:#?}", alarms(&history));
    Ok(())
}

#[test]
fn each_invariant_has_a_planted_violation() {
    for invariant in &INVARIANTS {
        let planted = PLANTED
            .iter()
            .any(|planted| planted.invariant == invariant.name);
        assert!(planted, "nothing was planted for {}", invariant.name);
    }
}

#[test]
fn a_counter_example_names_the_operation_and_what_was_expected() -> anyhow::Result<()> {
    let mut plot = Plot {
        records: clean::records(1, Size::SMALL),
        rng: StdRng::seed_from_u64(1),
    };
    let lost = PLANTED
        .iter()
        .find(|planted| planted.what.contains("without a trace"));
    (lost.context("no such plan")?.plant)(&mut plot).context("no place")?;
    let before = clean::records(1, Size::SMALL);
    let after = &plot.records;
    let kept = |id| after.iter().any(|line| line.message_id == Some(id));
    let gone = before
        .iter()
        .find(|line| line.message_id.is_some_and(|id| !kept(id)))
        .context("nothing is gone")?;
    let alarms = alarms(&History::of(after)?);
    let words = alarms.first().context("no alarm")?;
    let client_id = gone.client_id.context("no client_id")?;
    ensure!(
        words.contains(&client_id.to_string()) && words.contains("the log does not have it"),
        "{words}"
    );
    Ok(())
}

#[test]
fn a_history_is_read_line_by_line_as_it_was_written() -> anyhow::Result<()> {
    let records = clean::records(3, Size::SMALL);
    let mut lines = Vec::new();
    for record in &records {
        serde_json::to_writer(&mut lines, record)?;
        lines.push(b'\n');
    }
    // The recorder died in the middle of a line.
    lines.extend(br#"{"t_mono":1,"proc"#);
    let (read, made) = (History::read(&lines[..])?, History::of(&records)?);
    ensure!(read.records == records.len() as u64);
    let verdicts = |history| check(history).into_iter().map(|(_, verdict)| verdict);
    ensure!(verdicts(&read).eq(verdicts(&made)));
    let broken = lines
        .iter()
        .position(|byte| *byte == b'\n')
        .context("no line")?;
    lines[broken - 1] = b' ';
    let error = History::read(&lines[..])
        .err()
        .context("a broken line was read")?;
    ensure!(error.to_string() == "line 1", "{error:#}");
    Ok(())
}

#[test]
fn a_recorder_writes_what_the_checker_reads_and_says_when_it_could_not() -> anyhow::Result<()> {
    let path = std::env::temp_dir().join(format!("history-{}.jsonl", uuid::Uuid::new_v4()));
    let recorder = Recorder::create(&path)?;
    let process = recorder.process(UserId::generate());
    for kind in [Kind::Invoke, Kind::Ok, Kind::Info] {
        let mut line = process.line(kind, Function::Connect);
        line.conn = Some(1);
        process.write(&line);
    }
    recorder.finish()?;
    let lines = std::fs::read(&path)?;
    std::fs::remove_file(&path)?;
    let history = History::read(&lines[..])?;
    let [client] = &history.clients[..] else {
        anyhow::bail!("{:?}", history.clients);
    };
    let times = client.connections.first().map(|it| (it.opened, it.closed));
    ensure!(matches!(times, Some((Some(_), Some(_)))), "{times:?}");

    let full = Recorder::to(BufWriter::with_capacity(1, Full));
    let process = full.harness();
    process.write(&process.line(Kind::Info, Function::Final));
    ensure!(full.finish().is_err(), "a full disk was not told of");
    Ok(())
}

struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Tells how fast it is; nothing is held against the clock.
#[test]
fn many_operations_are_checked_in_one_pass() -> anyhow::Result<()> {
    let mut lines = Vec::new();
    clean::generate(7, Size::of(MANY), |record| {
        // Into memory: it cannot fail.
        let _ = serde_json::to_writer(&mut lines, &record);
        lines.push(b'\n');
    });
    let begun = Instant::now();
    let history = History::read(&lines[..])?;
    let alarms = alarms(&history);
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(alarms.is_empty(), "{alarms:#?}");
    let operations = history.operations;
    ensure!(operations > MANY as u64 / 2, "only {operations} operations");
    eprintln!(
        "{operations} operations, {} records in {seconds:.2} s: {:.0} operations a second",
        history.records,
        operations as f64 / seconds
    );
    Ok(())
}
