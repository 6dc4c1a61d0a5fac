//! `Exposed`: browsers are led to the chat.

use super::{Observation, Verdict};

pub fn judge(seen: &Observation) -> Verdict {
    if seen.components.is_empty() {
        return Verdict::no(
            "Unknown",
            "the ChatCluster cannot be built: see the condition Stalled",
        );
    }
    match (&seen.exposure.missing, seen.exposure.by) {
        (Some(missing), _) => Verdict::no(&missing.reason, &missing.message),
        (None, Some(by)) => Verdict::yes("Exposed", format!("by {by}, at {}", seen.exposure.url)),
        (None, None) => Verdict::yes(
            "NotWanted",
            "exposure.type is None: only the Services of the namespace lead to it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{healthy, problem};
    use super::*;

    #[test]
    fn a_route_in_place_is_exposure() {
        assert_eq!(judge(&healthy()).reason, "Exposed");
    }

    #[test]
    fn what_is_missing_is_the_reason() {
        let mut seen = healthy();
        seen.exposure.missing = Some(problem("RouteNotAccepted"));
        assert_eq!(judge(&seen), Verdict::no("RouteNotAccepted", "because"));
    }

    #[test]
    fn no_exposure_is_fine_when_none_is_wanted() {
        let mut seen = healthy();
        seen.exposure.by = None;
        assert!(judge(&seen).holds);
        assert_eq!(judge(&seen).reason, "NotWanted");
    }
}
