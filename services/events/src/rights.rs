//! What each service may do in the stores of its `ChatCluster`: one database, one
//! broker user and one Redis user a service, each with the least rights. Those on
//! the broker are [`crate::topology::permissions`].

use crate::Service;

/// The name of the service's `PostgreSQL` role and database, and of its user in
/// RabbitMQ and Redis.
pub fn role(cluster: &str, service: Service) -> String {
    format!("{cluster}_{}", service.name())
}

/// What the names of the service's Redis keys and channels begin with.
pub fn redis_prefixes(cluster: &str, service: Service) -> Vec<String> {
    let mut prefixes = vec![format!("{cluster}:{}:", service.name())];
    // Leases of presence: the pods that hold sockets write, users decides.
    if matches!(
        service,
        Service::Users | Service::SocketHandler | Service::Notifications
    ) {
        prefixes.push(format!("{cluster}:presence:"));
    }
    prefixes
}

/// The Redis ACL rules of the service, but for its password.
pub fn redis_rules(cluster: &str, service: Service) -> Vec<String> {
    redis_prefixes(cluster, service)
        .into_iter()
        .flat_map(|prefix| [format!("~{prefix}*"), format!("&{prefix}*")])
        .chain(["+@all", "-@admin", "-@dangerous"].map(Into::into))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_service_holds_the_keys_of_another() {
        for who in Service::ALL {
            for whose in Service::ALL {
                let own = format!("~chat:{}:*", whose.name());
                let holds = redis_rules("chat", who).contains(&own);
                assert_eq!(holds, who == whose, "{} and {own}", who.name());
            }
        }
    }

    #[test]
    fn dangerous_commands_are_taken_away_last() {
        let rules = redis_rules("chat", Service::Auth);
        assert_eq!(
            rules,
            [
                "~chat:auth:*",
                "&chat:auth:*",
                "+@all",
                "-@admin",
                "-@dangerous"
            ]
        );
    }
}
