//! Who is asking: the one place where an access token is checked. The type
//! [`Authenticated`] has no other constructor.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum_extra::extract::CookieJar;
use chat_events::{Code, SessionId, SessionRevoked, UserId, limits};
use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::Problem;

mod follow;

pub use follow::{Revocation, Revocations};

/// A longer token is refused unread.
const TOKEN: usize = 4096;
pub const TOKEN_TYPE: &str = "at+jwt";
/// Clocks of two pods may differ by this many seconds.
const LEEWAY: u64 = 30;

/// The claims of an access token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: UserId,
    pub username: String,
    pub sid: SessionId,
    pub jti: uuid::Uuid,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
}

pub fn issuer(cluster: &str) -> String {
    format!("chatcluster/{cluster}")
}

/// The name of the cookie with the access token.
pub const fn access_cookie(secure: bool) -> &'static str {
    if secure { "__Host-auth" } else { "auth" }
}

/// A caller whose token was good a moment ago.
#[derive(Clone, Debug)]
pub struct Authenticated {
    user_id: UserId,
    username: String,
    session_id: SessionId,
    expires_at: Timestamp,
    token: SecretString,
}

impl Authenticated {
    pub const fn user_id(&self) -> UserId {
        self.user_id
    }

    pub fn username(&self) -> &str {
        &self.username
    }

    pub const fn session_id(&self) -> SessionId {
        self.session_id
    }

    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// For asking another service in the caller's name, as a bearer token.
    pub const fn token(&self) -> &SecretString {
        &self.token
    }
}

/// The keys, the ended sessions, and the check; cheap to clone.
#[derive(Clone)]
pub struct Identity {
    inner: Arc<Inner>,
}

struct Inner {
    secure: bool,
    validation: Validation,
    keys: RwLock<HashMap<String, DecodingKey>>,
    revoked: RwLock<HashMap<SessionId, Timestamp>>,
    unknown_key: Notify,
}

impl Identity {
    /// Accepts nobody until it has keys.
    pub fn new(cluster: &str, secure_cookies: bool) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&[cluster]);
        validation.set_issuer(&[issuer(cluster)]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        Self {
            inner: Arc::new(Inner {
                secure: secure_cookies,
                validation,
                keys: RwLock::default(),
                revoked: RwLock::default(),
                unknown_key: Notify::new(),
            }),
        }
    }

    /// Replaces the keys. Keys of another kind than EdDSA are left out.
    pub fn set_keys(&self, set: &JwkSet) {
        let keys = set
            .keys
            .iter()
            .filter_map(|jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?)))
            .collect();
        *self
            .inner
            .keys
            .write()
            .unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Notes sessions that have ended, and forgets those whose tokens expired.
    pub fn add_revoked(&self, sessions: impl IntoIterator<Item = (SessionId, Timestamp)>) {
        let now = Timestamp::now();
        let mut revoked = self
            .inner
            .revoked
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        revoked.extend(sessions);
        revoked.retain(|_, until| *until > now);
    }

    pub fn revoke(&self, event: &SessionRevoked) {
        self.add_revoked([(event.session_id, event.until)]);
    }

    pub fn is_revoked(&self, session: SessionId) -> bool {
        self.inner
            .revoked
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(&session)
    }

    /// Checks a token completely.
    pub fn verify(&self, token: &str) -> Result<Authenticated, Problem> {
        self.check(token)
            .ok_or_else(|| Problem::from(Code::Unauthenticated))
    }

    fn check(&self, token: &str) -> Option<Authenticated> {
        if token.len() > TOKEN {
            return None;
        }
        let header = decode_header(token).ok()?;
        let foreign = header.jku.is_some()
            || header.jwk.is_some()
            || header.x5u.is_some()
            || header.x5c.is_some()
            || header.crit.is_some()
            || header.enc.is_some()
            || header.zip.is_some();
        if foreign || header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TOKEN_TYPE) {
            return None;
        }
        let kid = header.kid?;
        let key = {
            let keys = self
                .inner
                .keys
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            keys.get(&kid).cloned()
        };
        let Some(key) = key else {
            self.inner.unknown_key.notify_one();
            return None;
        };
        let claims = decode::<Claims>(token, &key, &self.inner.validation)
            .ok()?
            .claims;
        let now = Timestamp::now().as_second();
        let life = limits::ACCESS_TOKEN.as_secs() as i64;
        // A life longer than ours was not signed by our rules.
        if claims.iat > now + LEEWAY as i64 || claims.exp - claims.iat > life {
            return None;
        }
        if self.is_revoked(claims.sid) {
            return None;
        }
        Some(Authenticated {
            user_id: claims.sub,
            username: claims.username,
            session_id: claims.sid,
            expires_at: Timestamp::from_second(claims.exp).ok()?,
            token: token.into(),
        })
    }

    fn of_request(&self, headers: &HeaderMap) -> Result<Option<Authenticated>, Problem> {
        let jar = CookieJar::from_headers(headers);
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let token = bearer.or_else(|| {
            jar.get(access_cookie(self.inner.secure))
                .map(|cookie| cookie.value())
        });
        token.map(|token| self.verify(token)).transpose()
    }
}

impl<S> FromRequestParts<S> for Authenticated
where
    Identity: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Identity::from_ref(state)
            .of_request(&parts.headers)?
            .ok_or_else(|| Code::Unauthenticated.into())
    }
}

/// A guest has no token at all; a bad token is an error, not a guest.
impl<S> OptionalFromRequestParts<S> for Authenticated
where
    Identity: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Problem> {
        Identity::from_ref(state).of_request(&parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use chat_events::{SessionId, UserId};
    use jsonwebtoken::jwk::{Jwk, JwkSet};
    use jsonwebtoken::{EncodingKey, Header, encode};

    use super::{Algorithm, Claims, Identity, TOKEN_TYPE, Timestamp, issuer};

    /// PKCS #8 of an Ed25519 seed: a fixed prefix and the 32 bytes.
    fn key(seed: u8) -> EncodingKey {
        let mut der = vec![
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        der.extend([seed; 32]);
        EncodingKey::from_ed_der(&der)
    }

    fn identity() -> Identity {
        let mut jwk = Jwk::from_encoding_key(&key(1), Algorithm::EdDSA).expect("a public key");
        jwk.common.key_id = Some("ours".into());
        let identity = Identity::new("test", false);
        identity.set_keys(&JwkSet { keys: vec![jwk] });
        identity
    }

    fn header() -> Header {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.into());
        header.kid = Some("ours".into());
        header
    }

    fn claims() -> Claims {
        let now = Timestamp::now().as_second();
        Claims {
            iss: issuer("test"),
            aud: "test".into(),
            sub: UserId::generate(),
            username: "ada".into(),
            sid: SessionId::generate(),
            jti: uuid::Uuid::now_v7(),
            iat: now,
            nbf: now,
            exp: now + 600,
        }
    }

    fn signed(header: &Header, claims: &Claims, seed: u8) -> String {
        encode(header, claims, &key(seed)).expect("a token")
    }

    #[test]
    fn a_token_of_ours_names_its_user() {
        let claims = claims();
        let caller = identity()
            .verify(&signed(&header(), &claims, 1))
            .expect("accepted");
        assert_eq!(caller.user_id(), claims.sub);
        assert_eq!(caller.session_id(), claims.sid);
    }

    #[test]
    fn a_token_is_refused_when_any_part_of_it_is_not_ours() {
        let now = Timestamp::now().as_second();
        let with = |change: fn(&mut Claims, i64)| {
            let mut claims = claims();
            change(&mut claims, now);
            signed(&header(), &claims, 1)
        };
        let headed = |change: fn(&mut Header)| {
            let mut header = header();
            change(&mut header);
            signed(&header, &claims(), 1)
        };
        let forged = [
            ("empty", String::new()),
            ("of another key", signed(&header(), &claims(), 2)),
            ("expired", with(|it, now| it.exp = now - 31)),
            ("not yet valid", with(|it, now| it.nbf = now + 60)),
            ("from the future", with(|it, now| it.iat = now + 60)),
            ("too long a life", with(|it, now| it.exp = now + 601)),
            ("of another cluster", with(|it, _| it.aud = "other".into())),
            ("of another issuer", with(|it, _| it.iss = issuer("other"))),
            (
                "of an unknown key",
                headed(|it| it.kid = Some("theirs".into())),
            ),
            ("without a key id", headed(|it| it.kid = None)),
            ("of another type", headed(|it| it.typ = Some("JWT".into()))),
            (
                "with a key address",
                headed(|it| it.jku = Some("http://127.0.0.1/".into())),
            ),
            (
                "with a certificate",
                headed(|it| it.x5u = Some("http://127.0.0.1/".into())),
            ),
            (
                "with demands",
                headed(|it| it.crit = Some(vec!["exp".into()])),
            ),
        ];
        for (what, token) in forged {
            assert!(
                identity().verify(&token).is_err(),
                "accepted a token {what}"
            );
        }
    }

    #[test]
    fn a_changed_payload_breaks_the_signature() {
        let token = signed(&header(), &claims(), 1);
        let other = signed(&header(), &claims(), 1);
        let parts: Vec<_> = token.split('.').collect();
        let others: Vec<_> = other.split('.').collect();
        let mixed = format!("{}.{}.{}", parts[0], others[1], parts[2]);
        assert!(identity().verify(&mixed).is_err());
    }

    #[test]
    fn an_ended_session_is_refused_and_forgotten_when_its_tokens_are_gone() {
        let (identity, claims) = (identity(), claims());
        let until = Timestamp::from_second(claims.exp).expect("a time");
        identity.add_revoked([(claims.sid, until)]);
        assert!(identity.verify(&signed(&header(), &claims, 1)).is_err());
        let past = Timestamp::from_second(1).expect("a time");
        identity.add_revoked([(claims.sid, past)]);
        assert!(!identity.is_revoked(claims.sid));
    }
}
