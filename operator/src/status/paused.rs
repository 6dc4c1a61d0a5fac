//! `Paused`: the operator changes nothing.

use super::{Observation, Verdict};

pub fn judge(seen: &Observation) -> Verdict {
    if seen.paused {
        Verdict::yes(
            "Paused",
            "spec.paused is true: the operator changes nothing",
        )
    } else {
        Verdict::no(
            "Active",
            "the operator keeps the cluster as the ChatCluster says",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::healthy;
    use super::*;

    #[test]
    fn only_a_paused_chat_is_paused() {
        let mut seen = healthy();
        assert!(!judge(&seen).holds);
        seen.paused = true;
        assert!(judge(&seen).holds);
    }
}
