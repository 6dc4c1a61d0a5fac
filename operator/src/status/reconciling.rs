//! `Reconciling`: the operator or the cluster is at work.

use super::{Observation, Verdict, ready, stalled};

pub fn judge(seen: &Observation) -> Verdict {
    if stalled::judge(seen).holds {
        return Verdict::no("Stalled", "see the condition Stalled");
    }
    if let Some(hindrance) = &seen.hindrance {
        return Verdict::yes(&hindrance.reason, &hindrance.message);
    }
    if !seen.waits.is_empty() {
        let waits = seen.waits.join(", ");
        return Verdict::yes("Replacing", format!("waits for the end of {waits}"));
    }
    if seen.paused {
        return Verdict::no("Paused", "see the condition Paused");
    }
    if seen.stopped {
        return match seen.running {
            0 => Verdict::no("Stopped", "nothing runs"),
            running => Verdict::yes("Stopping", format!("{running} pods still run")),
        };
    }
    if let Some(stage) = seen.passwords {
        return Verdict::yes("ChangingPasswords", format!("new passwords: {stage}"));
    }
    let ready = ready::judge(seen);
    if ready.holds {
        Verdict::no("Settled", "the cluster is as the ChatCluster says")
    } else {
        Verdict {
            holds: true,
            ..ready
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{healthy, problem};
    use super::*;

    #[test]
    fn a_healthy_chat_is_settled() {
        assert_eq!(judge(&healthy()).reason, "Settled");
        assert!(!judge(&healthy()).holds);
    }

    #[test]
    fn what_is_not_ready_yet_is_being_worked_on() {
        let mut seen = healthy();
        seen.components[0].settled = false;
        assert!(judge(&seen).holds);
        assert_eq!(judge(&seen).reason, "AuthNotReady");
    }

    #[test]
    fn a_call_that_failed_is_tried_again() {
        let mut seen = healthy();
        seen.hindrance = Some(problem("Retrying"));
        assert_eq!(judge(&seen), Verdict::yes("Retrying", "because"));
    }

    #[test]
    fn what_is_stalled_or_paused_is_not_being_worked_on() {
        let mut seen = healthy();
        seen.components[0].settled = false;
        seen.paused = true;
        assert!(!judge(&seen).holds);
        seen.problem = Some(problem("SecretMissing"));
        assert_eq!(judge(&seen).reason, "Stalled");
    }

    #[test]
    fn a_change_of_passwords_is_work_that_leaves_a_chat_ready() {
        let mut seen = healthy();
        seen.passwords = Some("announced");
        assert_eq!(
            judge(&seen),
            Verdict::yes("ChangingPasswords", "new passwords: announced")
        );
        assert!(ready::judge(&seen).holds);
        seen.stopped = true;
        assert_eq!(judge(&seen).reason, "Stopped");
    }

    #[test]
    fn a_chat_is_stopping_until_no_pod_runs() {
        let mut seen = healthy();
        seen.stopped = true;
        seen.running = 1;
        assert_eq!(judge(&seen).reason, "Stopping");
        seen.running = 0;
        assert_eq!(judge(&seen), Verdict::no("Stopped", "nothing runs"));
    }
}
