//! The nemesis in CI: ten kills over five seeds, each component among them, and each
//! thing that can happen to the ways to stores and clients.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::nemesis::{Fault, Strike, Target};
use chat_e2e::run::{LoadPlan, Outcome, Plan, run};
use chat_events::Service;
use rstest::rstest;

use Service::{Auth, Messages, Notifications, SocketHandler, Users};

const LOAD: Duration = Duration::from_secs(15);
/// Milliseconds before the first strike, and after the last one.
const CALM: u64 = 2_000;
/// What a run of this length says nothing about: presence is judged 45 s after the
/// last change, and what pods hold is not sampled.
const TOO_SHORT: [&str; 2] = ["I12", "I20"];

#[rstest]
#[case(1, [Target::Pod(Auth, 0), Target::PostgreSql])]
#[case(2, [Target::Pod(Messages, 0), Target::RabbitMq])]
#[case(3, [Target::Pod(SocketHandler, 0), Target::Nginx])]
#[case(4, [Target::Pod(Users, 1), Target::Redis])]
#[case(5, [Target::Pod(Notifications, 0), Target::Pod(Messages, 1)])]
#[tokio::test]
async fn two_kills_under_load_break_no_promise(
    #[case] seed: u64,
    #[case] targets: [Target; 2],
) -> anyhow::Result<()> {
    let kill = |number: usize| Strike {
        at_ms: CALM + 3_000 * number as u64,
        fault: Fault::Kill,
        target: targets[number],
        length_ms: 500 + 250 * seed,
    };
    let outcome = keeps_its_promises(seed, vec![kill(0), kill(1)]).await?;
    ensure!(outcome.kills() == 2, "{outcome}");
    Ok(())
}

#[rstest]
#[case(6, [Target::PostgreSql, Target::Redis])]
#[case(7, [Target::RabbitMq, Target::Nginx])]
#[tokio::test]
async fn broken_ways_under_load_break_no_promise(
    #[case] seed: u64,
    #[case] targets: [Target; 2],
) -> anyhow::Result<()> {
    let mut schedule: Vec<Strike> = Vec::new();
    for target in targets {
        for fault in Fault::beside(target) {
            schedule.push(Strike {
                at_ms: schedule.last().map_or(CALM, |last| last.end_ms() + 700),
                fault: *fault,
                target,
                length_ms: 800,
            });
        }
    }
    let count = schedule.len() as u64;
    let outcome = keeps_its_promises(seed, schedule).await?;
    let strikes: u64 = outcome.strikes.values().flat_map(|it| it.values()).sum();
    ensure!(strikes == count, "{strikes} of {count}: {outcome}");
    Ok(())
}

async fn keeps_its_promises(seed: u64, schedule: Vec<Strike>) -> anyhow::Result<Outcome> {
    let folder = std::env::temp_dir().join(format!("chaos-run-{}-{seed}", std::process::id()));
    let last = schedule.last().map_or(0, Strike::end_ms);
    let plan = Plan {
        load: LoadPlan {
            seed,
            rate: 25.0,
            people: 8,
            folder: folder.clone(),
            presence: false,
        },
        length: LOAD.max(Duration::from_millis(last + CALM)),
        replicas: 2,
        schedule,
        programs: None,
        env: Vec::new(),
    };
    let outcome = Box::pin(run(&plan)).await?;
    eprintln!("{outcome}");
    ensure!(
        outcome.is_clean(),
        "the history is {}:\n{outcome}",
        plan.load.history().display()
    );
    ensure!(outcome.acknowledged >= 100, "{outcome}");
    for (invariant, facts) in &outcome.facts {
        ensure!(
            *facts > 0 || TOO_SHORT.contains(&invariant.as_str()),
            "the run says nothing about {invariant}: {outcome}"
        );
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(outcome)
}
