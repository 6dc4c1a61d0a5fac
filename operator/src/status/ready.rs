//! `Ready`: people can chat.

use super::{
    Observation, Verdict, backing_stores_ready, exposed, migrations_complete, services_available,
    stalled,
};

pub fn judge(seen: &Observation) -> Verdict {
    if seen.stopped && seen.problem.is_none() {
        return Verdict::no(
            "Stopped",
            "spec.stopped is true: nothing runs, volumes and Secrets stay",
        );
    }
    let stalled = stalled::judge(seen);
    if stalled.holds {
        return Verdict {
            holds: false,
            ..stalled
        };
    }
    let parts = [
        backing_stores_ready::judge(seen),
        migrations_complete::judge(seen),
        services_available::judge(seen),
        exposed::judge(seen),
    ];
    // The first of them is what the others wait for.
    parts
        .into_iter()
        .find(|verdict| !verdict.holds)
        .unwrap_or_else(|| {
            let at = &seen.exposure.url;
            Verdict::yes("Ready", format!("people can chat at {at}"))
        })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{healthy, problem};
    use super::super::{Migration, Progress};
    use super::*;

    #[test]
    fn a_chat_of_which_everything_runs_is_ready() {
        let verdict = judge(&healthy());
        assert!(verdict.holds);
        assert_eq!(verdict.reason, "Ready");
        assert!(verdict.message.contains("https://chat.example.com"));
    }

    #[test]
    fn the_reason_is_what_the_rest_waits_for() {
        let mut seen = healthy();
        seen.components[0].settled = false;
        assert_eq!(judge(&seen).reason, "AuthNotReady");
        seen.migrations = vec![Migration {
            service: "auth",
            image: "i".into(),
            state: Progress::Waiting,
        }];
        assert_eq!(judge(&seen).reason, "Migrating");
        seen.stores[0].ready = false;
        assert_eq!(judge(&seen).reason, "PostgresNotReady");
        seen.problem = Some(problem("SecretMissing"));
        assert_eq!(judge(&seen).reason, "SecretMissing");
    }

    #[test]
    fn a_stopped_chat_is_not_ready_and_says_why() {
        let mut seen = healthy();
        seen.stopped = true;
        assert!(!judge(&seen).holds);
        assert_eq!(judge(&seen).reason, "Stopped");
    }

    #[test]
    fn a_call_that_failed_does_not_make_what_runs_unready() {
        let mut seen = healthy();
        seen.hindrance = Some(problem("Retrying"));
        assert!(judge(&seen).holds);
    }
}
