//! The bench of the operator works. Its times depend on the machine and are not looked
//! at; what it counts does not.

use anyhow::{Context, Result, ensure};
use chat_local::stack::programs_beside_tests;
use serde_json::Value;
use tokio::process::Command;

#[tokio::test]
async fn the_bench_of_the_operator_runs_through_every_part_and_counts() -> Result<()> {
    let programs = programs_beside_tests()?;
    let output = Command::new(programs.join("examples/bench_operator"))
        .args(["--size", "tiny", "--operator"])
        .arg(programs.join("operator"))
        .kill_on_drop(true)
        .output()
        .await
        .context("it is not built: run `cargo build --workspace --examples` first")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout)?;
    let last = printed.lines().next_back().context("it printed nothing")?;
    let counted: Value = serde_json::from_str(last)?;
    for nothing in [
        "idle_writes",
        "idle_reads",
        "restart_writes",
        "together_errors",
        "together_failed_passes",
    ] {
        ensure!(
            counted[nothing].as_f64() == Some(0.0),
            "{nothing}: {counted}"
        );
    }
    // Each object is made by one call, seen by the audit log.
    let children = &counted["children"];
    ensure!(children.as_u64() > Some(50), "{counted}");
    assert_eq!(&counted["calls_by_kind"]["applies that make"], children);
    Ok(())
}
