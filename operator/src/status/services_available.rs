//! `ServicesAvailable`: every workload runs with all its pods.

use super::{Component, Observation, Verdict};

pub fn judge(seen: &Observation) -> Verdict {
    if seen.components.is_empty() {
        return Verdict::no(
            "Unknown",
            "the ChatCluster cannot be built: see the condition Stalled",
        );
    }
    if seen.stopped {
        return Verdict::no("Stopped", "spec.stopped is true");
    }
    let missing: Vec<&Component> = seen.components.iter().filter(|it| !it.settled).collect();
    let Some(first) = missing.first() else {
        return Verdict::yes("AllReady", "all pods of all services answer");
    };
    if let Some(failure) = missing.iter().find_map(|it| it.failure.as_ref()) {
        return Verdict::no(&failure.reason, &failure.message);
    }
    let what: Vec<String> = missing.iter().map(|it| describe(it)).collect();
    Verdict::no(&reason(&first.status.name), what.join("; "))
}

fn describe(component: &Component) -> String {
    let status = &component.status;
    if component.queued {
        return format!("{}: is replaced when those before it are", status.name);
    }
    let told = format!(
        "{}: {} of {} pods answer, {} are of the newest revision",
        status.name, status.ready, status.desired, status.updated
    );
    match component.old {
        old @ 1.. => format!("{told} and {old} of an older one"),
        _ => told,
    }
}

/// `SocketHandlerNotReady` for `socket-handler`.
fn reason(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    });
    words.collect::<String>() + "NotReady"
}

#[cfg(test)]
mod tests {
    use super::super::testing::{healthy, problem};
    use super::*;

    #[test]
    fn all_settled_is_available() {
        assert!(judge(&healthy()).holds);
    }

    #[test]
    fn what_is_missing_is_named_and_counted() {
        let mut seen = healthy();
        let sockets = &mut seen.components[4];
        sockets.settled = false;
        sockets.status.ready = 1;
        let verdict = judge(&seen);
        assert_eq!(verdict.reason, "SocketHandlerNotReady");
        assert!(
            verdict
                .message
                .contains("socket-handler: 1 of 2 pods answer")
        );
    }

    #[test]
    fn what_waits_for_its_turn_is_not_said_to_be_new() {
        let mut seen = healthy();
        seen.components[1].settled = false;
        seen.components[1].queued = true;
        let message = judge(&seen).message;
        assert_eq!(message, "users: is replaced when those before it are");
    }

    #[test]
    fn what_the_cluster_says_is_passed_on() {
        let mut seen = healthy();
        seen.components[0].settled = false;
        seen.components[0].failure = Some(problem("PodsRefused"));
        assert_eq!(judge(&seen), Verdict::no("PodsRefused", "because"));
    }
}
