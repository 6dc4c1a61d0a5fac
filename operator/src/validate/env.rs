//! The variables that users may set: what the services offer, and nothing that
//! the operator sets itself.

use super::{Invalid, Part};
use crate::crd::EnvVar;

/// Set by the operator, or changing what a pod is.
const RESERVED: [&str; 32] = [
    "ADMIN_PORT",
    "AUTH_URL",
    "CLUSTER",
    "DB_HOST",
    "DB_NAME",
    "DB_PASSWORD",
    "DB_PORT",
    "DB_USER",
    "DRAIN_SECONDS",
    "HOME",
    "HOST",
    "HOSTNAME",
    "JWT_KEY",
    "JWT_KEY_PREVIOUS",
    "LOG",
    "MAX_SOCKETS",
    "MESSAGES_URL",
    "OTLP_ENDPOINT",
    "PATH",
    "POD_NAME",
    "PORT",
    "PUBLIC_ORIGINS",
    "REDIS_HOST",
    "REDIS_PASSWORD",
    "REDIS_USER",
    "RMQ_HOST",
    "RMQ_PASSWORD",
    "RMQ_PORT",
    "RMQ_USER",
    "RMQ_VHOST",
    "SSLKEYLOGFILE",
    "USERS_URL",
];

pub fn checked(part: Part, env: &[EnvVar]) -> Result<Vec<(String, String)>, Invalid> {
    let field = part.field();
    if part == Part::Web && !env.is_empty() {
        return Err(Invalid::new(
            "WebHasNoSettings",
            "spec.services.web.env: the client is files alone, and reads no settings".into(),
        ));
    }
    let mut seen = Vec::new();
    for EnvVar { name, value } in env {
        // A setting that names a file could make a service print what is in it.
        let reserved =
            RESERVED.contains(&name.as_str()) || name.ends_with("_FILE") || name.starts_with("LD_");
        if reserved {
            return Err(Invalid::new(
                "ReservedEnv",
                format!("spec.services.{field}.env: `{name}` is set by the operator alone"),
            ));
        }
        if seen.iter().any(|(other, _)| other == name) {
            return Err(Invalid::new(
                "DuplicateEnv",
                format!("spec.services.{field}.env: `{name}` is there twice"),
            ));
        }
        seen.push((name.clone(), value.clone()));
    }
    Ok(seen)
}
