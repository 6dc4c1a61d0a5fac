//! `MigrationsComplete`: every database has the form that the wanted images expect.

use super::{Observation, Progress, Verdict};

pub fn judge(seen: &Observation) -> Verdict {
    if seen.components.is_empty() {
        return Verdict::no(
            "Unknown",
            "the ChatCluster cannot be built: see the condition Stalled",
        );
    }
    let with = |wanted: fn(&Progress) -> bool| -> Vec<&str> {
        let matching = seen.migrations.iter().filter(|it| wanted(&it.state));
        matching.map(|it| it.service).collect()
    };
    let failed = with(|state| matches!(state, Progress::Failed(_)));
    if !failed.is_empty() {
        return Verdict::no("MigrationFailed", format!("failed: {}", failed.join(", ")));
    }
    let waiting = with(|state| *state == Progress::Waiting);
    if !waiting.is_empty() {
        return Verdict::no(
            "Migrating",
            format!("not ended yet: {}", waiting.join(", ")),
        );
    }
    Verdict::yes(
        "Migrated",
        "every database has the form that its service expects",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Migration;
    use super::super::testing::healthy;
    use super::*;

    fn with(states: [Progress; 2]) -> Verdict {
        let [auth, users] = states;
        let migration = |service, state| Migration {
            service,
            image: "i".into(),
            state,
        };
        judge(&Observation {
            migrations: vec![migration("auth", auth), migration("users", users)],
            ..healthy()
        })
    }

    #[test]
    fn all_that_succeeded_is_complete() {
        assert!(with([Progress::Succeeded, Progress::Succeeded]).holds);
    }

    #[test]
    fn one_that_runs_is_named() {
        let verdict = with([Progress::Succeeded, Progress::Waiting]);
        assert_eq!(verdict, Verdict::no("Migrating", "not ended yet: users"));
    }

    #[test]
    fn one_that_failed_matters_more() {
        let verdict = with([Progress::Failed("x".into()), Progress::Waiting]);
        assert_eq!(verdict, Verdict::no("MigrationFailed", "failed: auth"));
    }
}
