//! The nemesis in CI: ten kills over five seeds, each component among them.

use std::time::Duration;

use anyhow::ensure;
use chat_e2e::nemesis::{Fault, Strike, Target};
use chat_e2e::run::{LoadPlan, Outcome, Plan, run};
use chat_events::Service;
use rstest::rstest;

use Service::{Auth, Messages, Notifications, SocketHandler, Users};

const LOAD: Duration = Duration::from_secs(15);
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
        at_ms: 2_000 + 3_000 * number as u64,
        fault: Fault::Kill,
        target: targets[number],
        length_ms: 500 + 250 * seed,
    };
    let folder = std::env::temp_dir().join(format!("chaos-run-{}-{seed}", std::process::id()));
    let plan = Plan {
        load: LoadPlan {
            seed,
            rate: 25.0,
            people: 8,
            folder: folder.clone(),
            presence: false,
        },
        length: LOAD,
        replicas: 2,
        schedule: vec![kill(0), kill(1)],
        programs: None,
        env: Vec::new(),
    };
    let outcome = Box::pin(run(&plan)).await?;
    eprintln!("{outcome}");
    kept(&plan, &outcome)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn kept(plan: &Plan, outcome: &Outcome) -> anyhow::Result<()> {
    ensure!(
        outcome.is_clean(),
        "the history is {}:\n{outcome}",
        plan.load.history().display()
    );
    ensure!(outcome.kills() == 2, "{outcome}");
    ensure!(outcome.acknowledged >= 100, "{outcome}");
    for (invariant, facts) in &outcome.facts {
        ensure!(
            *facts > 0 || TOO_SHORT.contains(&invariant.as_str()),
            "the run says nothing about {invariant}: {outcome}"
        );
    }
    Ok(())
}
