//! `Stalled`: nothing goes on until somebody changes something.

use super::{Observation, Progress, Verdict};

pub fn judge(seen: &Observation) -> Verdict {
    if let Some(problem) = &seen.problem {
        return Verdict::yes(&problem.reason, &problem.message);
    }
    let failed = seen
        .migrations
        .iter()
        .find_map(|migration| match &migration.state {
            Progress::Failed(message) => Some((migration, message)),
            _ => None,
        });
    if let Some((migration, message)) = failed {
        let (service, image) = (migration.service, &migration.image);
        return Verdict::yes(
            "MigrationFailed",
            format!(
                "the migration of {service} to {image} failed, its old pods keep serving: {message}"
            ),
        );
    }
    if let Some(failure) = seen.components.iter().find_map(|it| it.failure.as_ref()) {
        return Verdict::yes(&failure.reason, &failure.message);
    }
    if let Some(job) = &seen.failed_trial {
        return Verdict::yes(
            "LoginsNotAccepted",
            format!(
                "passwords stay as they are: see the log of Job {job}, and delete it to try again"
            ),
        );
    }
    Verdict::no("Progressing", "nothing stands in the way")
}

#[cfg(test)]
mod tests {
    use super::super::Migration;
    use super::super::testing::{healthy, problem};
    use super::*;

    #[test]
    fn a_healthy_chat_is_not_stalled() {
        assert!(!judge(&healthy()).holds);
    }

    #[test]
    fn a_problem_of_the_spec_stalls_with_its_reason() {
        let mut seen = healthy();
        seen.problem = Some(problem("SecretMissing"));
        assert_eq!(judge(&seen), Verdict::yes("SecretMissing", "because"));
    }

    #[test]
    fn a_failed_migration_stalls_and_names_service_and_image() {
        let mut seen = healthy();
        seen.migrations = vec![Migration {
            service: "auth",
            image: "chat-auth:2".into(),
            state: Progress::Failed("exit code 1".into()),
        }];
        let verdict = judge(&seen);
        assert_eq!(verdict.reason, "MigrationFailed");
        for part in ["auth", "chat-auth:2", "exit code 1"] {
            assert!(verdict.message.contains(part));
        }
    }

    #[test]
    fn a_failed_trial_of_logins_stalls_and_names_the_job() {
        let mut seen = healthy();
        seen.failed_trial = Some("demo-redis-logins-1".into());
        let verdict = judge(&seen);
        assert_eq!(verdict.reason, "LoginsNotAccepted");
        assert!(verdict.message.contains("Job demo-redis-logins-1"));
    }

    #[test]
    fn a_rollout_that_is_stuck_stalls() {
        let mut seen = healthy();
        seen.components[0].failure = Some(problem("RolloutStuck"));
        assert_eq!(judge(&seen).reason, "RolloutStuck");
    }
}
