//! `docs/operator.md` promises nothing without a proof: tests that exist, or a word on
//! what is missing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(relative)
}

struct Promise {
    number: usize,
    proof: String,
}

fn promises() -> Result<Vec<Promise>> {
    let page = std::fs::read_to_string(path("docs/operator.md"))?;
    Ok(page.lines().filter_map(promise).collect())
}

/// A row of `| # | feature | what is promised | proof |`; other lines are none.
fn promise(line: &str) -> Option<Promise> {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, number, _, _, proof, _] = cells[..] else {
        return None;
    };
    Some(Promise {
        number: number.parse().ok()?,
        proof: proof.to_owned(),
    })
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_source(name: &Path) -> bool {
    name.extension().is_some_and(|it| it == "rs")
}

/// The names of all tests in the sources below a folder.
fn tests_below(folder: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "node_modules" {
                tests_below(&path, names)?;
            }
        } else if is_source(&path) {
            names.extend(tests_in(&std::fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

fn tests_in(source: &str) -> Vec<String> {
    const ATTRIBUTES: [&str; 3] = ["#[test]", "#[tokio::test", "#[rstest]"];
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            is_test |= ATTRIBUTES.iter().any(|it| line.starts_with(it));
            continue;
        }
        let function = line.strip_prefix("async ").unwrap_or(line);
        let function = function.strip_prefix("fn ");
        if is_test && let Some((name, _)) = function.and_then(|it| it.split_once('(')) {
            names.push(name.to_owned());
        }
        is_test = false;
    }
    names
}

#[test]
fn every_promise_has_a_proof_or_says_what_is_missing() -> Result<()> {
    let promises = promises()?;
    ensure!(
        promises.iter().map(|it| it.number).eq(1..=70),
        "not the rows 1 to 70"
    );
    for Promise { number, proof } in &promises {
        let missing = proof
            .split_once("later: ")
            .is_some_and(|(_, why)| !why.is_empty());
        ensure!(
            missing || in_backticks(proof).next().is_some(),
            "promise {number}"
        );
    }
    Ok(())
}

#[test]
fn every_test_that_a_promise_names_exists() -> Result<()> {
    let mut tests = BTreeSet::new();
    for folder in ["infra", "operator", "services", "tests"] {
        tests_below(&path(folder), &mut tests)?;
    }
    for Promise { number, proof } in promises()? {
        for name in in_backticks(&proof) {
            let exists = if is_source(Path::new(name)) {
                path(name).is_file()
            } else {
                tests.contains(name)
            };
            ensure!(exists, "promise {number}: there is no {name}");
        }
    }
    Ok(())
}
