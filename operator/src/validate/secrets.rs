//! Secrets that users bring: each key is checked before anything rolls. Messages
//! name the Secret and the key, and never a value.

use std::collections::BTreeMap;

use chat_events::{Service, rights};

use super::{Invalid, Login};
use crate::build::meta;
use crate::crd::{ChatCluster, ExternalPostgres, ExternalStore};
use crate::credentials::JWT_KEY;
use crate::facts::Facts;

/// Shorter keys could be guessed.
const JWT_BYTES: usize = 32;
/// Used when it is there and no other is named.
pub const JWT_SECRET: &str = "jwt-secret";

/// One Secret that somebody else made.
struct Given<'a> {
    name: &'a str,
    field: &'a str,
    data: &'a BTreeMap<String, Vec<u8>>,
}

impl<'a> Given<'a> {
    fn new(facts: &'a Facts, field: &'a str, name: &'a str) -> Result<Self, Invalid> {
        match facts.secrets.get(name) {
            Some(data) => Ok(Self { name, field, data }),
            None => Err(Invalid::new(
                "SecretMissing",
                format!("Secret `{name}`, which spec.{field} names, does not exist"),
            )),
        }
    }

    fn get(&self, key: &str) -> Result<Option<&'a str>, Invalid> {
        let Some(value) = self.data.get(key) else {
            return Ok(None);
        };
        let value = std::str::from_utf8(value).map_err(|_| self.bad(key, "is no text"))?;
        match value.trim_end_matches(['\r', '\n']) {
            "" => Err(self.bad(key, "is empty")),
            value if value.contains(['\r', '\n', '\0']) => {
                Err(self.bad(key, "has more than one line"))
            }
            value => Ok(Some(value)),
        }
    }

    fn need(&self, key: &str) -> Result<&'a str, Invalid> {
        self.get(key)?.ok_or_else(|| {
            Invalid::new(
                "SecretKeyMissing",
                format!(
                    "Secret `{}` has no key `{key}`, which spec.{} needs",
                    self.name, self.field
                ),
            )
        })
    }

    fn bad(&self, key: &str, what: &str) -> Invalid {
        Invalid::new(
            "SecretKeyInvalid",
            format!("Key `{key}` of Secret `{}` {what}", self.name),
        )
    }

    fn login(&self, port: u16, place: Option<&'a str>) -> Result<Login, Invalid> {
        let host = self.need("host")?;
        let named = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if !host.chars().all(named) {
            return Err(self.bad("host", "is no name or address of a server"));
        }
        let port = match self.get("port")? {
            None => port,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(self.bad("port", "is no port")),
            },
        };
        let (user, password) = (self.need("username")?, self.need("password")?);
        Ok(Login {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            password: (self.name.to_owned(), "password".to_owned()),
            place: place.unwrap_or_default().to_owned(),
            content_hash: meta::hash(&(host, port, user, password, place)),
        })
    }
}

/// One database for each service that has one.
pub fn postgres(
    chat: &str,
    external: &ExternalPostgres,
    facts: &Facts,
) -> Result<BTreeMap<Service, Login>, Invalid> {
    let mut logins = BTreeMap::new();
    for service in Service::ALL.into_iter().filter(|it| it.has_database()) {
        let own = external.per_service.get(service.name());
        let field = match own {
            Some(_) => format!("postgres.external.perService.{}", service.name()),
            None => "postgres.external.secretRef".to_owned(),
        };
        let name = &own.unwrap_or(&external.secret_ref).name;
        let given = Given::new(facts, &field, name)?;
        no_promise_of_tls(&given)?;
        let usual = rights::role(chat, service);
        let database = given.get("dbname")?.unwrap_or(&usual);
        let login = given.login(5432, Some(database))?;
        // Each service keeps its own record of migrations.
        if let Some((other, _)) = logins.iter().find(|(_, it): &(&Service, &Login)| {
            (&it.host, it.port, &it.place) == (&login.host, login.port, &login.place)
        }) {
            return Err(Invalid::new(
                "SharedDatabase",
                format!(
                    "{} and {} would share the database that key `dbname` of Secret `{name}` \
                     names: give each a Secret of its own in spec.postgres.external.perService",
                    other.name(),
                    service.name()
                ),
            ));
        }
        logins.insert(service, login);
    }
    Ok(logins)
}

/// Services use TLS where the server offers it, and look at no certificate: a Secret
/// that demands more must not be taken for one that gets it.
fn no_promise_of_tls(given: &Given<'_>) -> Result<(), Invalid> {
    match given.get("sslmode")? {
        None | Some("disable" | "allow" | "prefer") => Ok(()),
        Some(_) => Err(Invalid::new(
            "TlsNotSupported",
            format!(
                "Key `sslmode` of Secret `{}` demands TLS, and services use it only where the \
                 server offers it: leave the key out, or set it to prefer",
                given.name
            ),
        )),
    }
}

pub fn rabbitmq(external: &ExternalStore, facts: &Facts) -> Result<Login, Invalid> {
    let field = "rabbitmq.external.secretRef";
    let given = Given::new(facts, field, &external.secret_ref.name)?;
    given.login(5672, Some(given.get("vhost")?.unwrap_or("/")))
}

/// Its `host` holds the port as well: services take it as one setting.
pub fn redis(external: &ExternalStore, facts: &Facts) -> Result<Login, Invalid> {
    let field = "redis.external.secretRef";
    let given = Given::new(facts, field, &external.secret_ref.name)?;
    let login = given.login(6379, None)?;
    match login
        .host
        .rsplit_once(':')
        .map(|(host, port)| (host, port.parse()))
    {
        Some((host, Ok(port))) if !host.is_empty() && port > 0 => Ok(Login {
            host: host.to_owned(),
            port,
            ..login
        }),
        _ => Err(given.bad("host", "is not `host:port`, as Redis needs it")),
    }
}

/// The user's key of access tokens, if there is one, is long enough.
pub fn jwt(chat: &ChatCluster, facts: &Facts) -> Result<(), Invalid> {
    let given = match &chat.spec.security.jwt.secret_ref {
        Some(secret) => Given::new(facts, "security.jwt.secretRef", &secret.name)?,
        None => match facts.secrets.get(JWT_SECRET) {
            None => return Ok(()),
            Some(data) => Given {
                name: JWT_SECRET,
                field: "security.jwt.secretRef",
                data,
            },
        },
    };
    let bytes = given.need(JWT_KEY)?.len();
    if bytes < JWT_BYTES {
        return Err(Invalid::new(
            "JwtKeyTooShort",
            format!(
                "Key `{JWT_KEY}` of Secret `{}` has {bytes} bytes, and needs {JWT_BYTES}",
                given.name
            ),
        ));
    }
    Ok(())
}

/// The certificate and its key are there.
pub fn tls(name: &str, facts: &Facts) -> Result<(), Invalid> {
    let given = Given::new(facts, "exposure.tls.secretName", name)?;
    for (key, begin) in [
        ("tls.crt", "-----BEGIN CERTIFICATE-----"),
        ("tls.key", "-----BEGIN"),
    ] {
        match given.data.get(key) {
            None => {
                given.need(key)?;
            }
            Some(pem) if !pem.trim_ascii_start().starts_with(begin.as_bytes()) => {
                return Err(given.bad(key, "is not in PEM form"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}
