//! `BackingStoresReady`: PostgreSQL, RabbitMQ and Redis can be used.

use super::{Observation, Verdict};

pub fn judge(seen: &Observation) -> Verdict {
    if seen.components.is_empty() {
        return Verdict::no(
            "Unknown",
            "the ChatCluster cannot be built: see the condition Stalled",
        );
    }
    match seen.stores.iter().find(|store| !store.ready) {
        Some(store) => {
            let reason = match store.name.as_str() {
                "postgres" => "PostgresNotReady",
                "rabbitmq" => "RabbitmqNotReady",
                _ => "RedisNotReady",
            };
            Verdict::no(
                reason,
                format!("{} ({}): {}", store.name, store.mode, store.message),
            )
        }
        None => Verdict::yes("StoresReady", "all stores can be used"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::healthy;
    use super::*;

    #[test]
    fn each_store_has_its_own_reason_and_message() {
        for (number, reason) in ["PostgresNotReady", "RabbitmqNotReady", "RedisNotReady"]
            .into_iter()
            .enumerate()
        {
            let mut seen = healthy();
            seen.stores[number].ready = false;
            seen.stores[number].message = "0 of 1 pods answer".into();
            let verdict = judge(&seen);
            assert!(!verdict.holds);
            assert_eq!(verdict.reason, reason);
            assert!(verdict.message.contains("0 of 1 pods answer"));
        }
    }

    #[test]
    fn all_of_them_ready_is_ready() {
        assert!(judge(&healthy()).holds);
    }

    #[test]
    fn nothing_is_known_of_the_stores_of_an_invalid_chat() {
        assert_eq!(judge(&Observation::default()).reason, "Unknown");
    }
}
