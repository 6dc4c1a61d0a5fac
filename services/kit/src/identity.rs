//! Who is asking: the one place where an access token is checked. The type
//! [`Authenticated`] has no other constructor.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

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
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

use crate::Problem;

mod follow;

pub use follow::{Revocation, Revocations};

/// A longer token is refused unread.
const TOKEN: usize = 4096;
pub const TOKEN_TYPE: &str = "at+jwt";
/// Clocks of two pods may differ by this many seconds.
const LEEWAY: u64 = 30;
/// A token whose key is not known waits this long for the keys of auth.
const LOOK: Duration = Duration::from_secs(4);
/// Key ids that auth did not know, at most.
const STRANGE: usize = 1_000;
/// Requests that may wait for keys at the same time.
const WAITING: usize = 1_024;

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
    /// auth has all keys itself; the others ask it.
    is_auth: bool,
    validation: Validation,
    keys: RwLock<HashMap<String, DecodingKey>>,
    revoked: RwLock<HashMap<SessionId, Timestamp>>,
    wanted: Notify,
    /// Ids of keys that auth did not have when it was last asked.
    strange: RwLock<HashSet<String>>,
    waiting: Semaphore,
    looks: watch::Sender<Looks>,
}

/// How often the keys of auth were asked for, and how many of these were answered.
#[derive(Clone, Copy, Default)]
struct Looks {
    begun: u64,
    answered: u64,
}

/// Why a token is not good.
enum Refusal {
    Bad,
    /// Signed by a key that is not here, perhaps because it is a new one.
    UnknownKey(String),
}

impl Identity {
    /// Accepts nobody until it has the keys of auth.
    pub fn new(cluster: &str, secure_cookies: bool) -> Self {
        Self::with(cluster, secure_cookies, false)
    }

    /// Of auth itself, which has nobody to ask.
    pub fn of_auth(cluster: &str, secure_cookies: bool, keys: &JwkSet) -> Self {
        let identity = Self::with(cluster, secure_cookies, true);
        identity.set_keys(keys);
        identity
    }

    fn with(cluster: &str, secure: bool, is_auth: bool) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&[cluster]);
        validation.set_issuer(&[issuer(cluster)]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        Self {
            inner: Arc::new(Inner {
                secure,
                is_auth,
                validation,
                keys: RwLock::default(),
                revoked: RwLock::default(),
                wanted: Notify::new(),
                strange: RwLock::default(),
                waiting: Semaphore::new(WAITING),
                looks: watch::Sender::default(),
            }),
        }
    }

    /// Replaces the keys. Keys of another kind than EdDSA are left out.
    fn set_keys(&self, set: &JwkSet) {
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

    /// Checks a token completely, with the keys that are here.
    pub fn verify(&self, token: &str) -> Result<Authenticated, Problem> {
        self.check(token)
            .map_err(|_| Problem::from(Code::Unauthenticated))
    }

    /// As [`Identity::verify`], but a key that is not here is asked for: during a
    /// rotation a token may come before the key that signed it.
    async fn verify_or_look(&self, token: &str) -> Result<Authenticated, Problem> {
        match self.check(token) {
            Ok(caller) => return Ok(caller),
            Err(Refusal::Bad) => return Err(Code::Unauthenticated.into()),
            Err(Refusal::UnknownKey(kid)) => self.look_for(kid).await?,
        }
        self.verify(token)
    }

    /// Has auth asked for its keys and for ended sessions, without waiting for it.
    pub fn refresh_soon(&self) {
        self.inner.wanted.notify_one();
    }

    /// Comes back when auth was asked for both after now; false when it did not answer
    /// within 4 s.
    pub async fn refresh(&self) -> bool {
        let mut looks = self.inner.looks.subscribe();
        let begun = looks.borrow_and_update().begun;
        self.refresh_soon();
        let answered = looks.wait_for(|looks| looks.answered > begun);
        timeout(LOOK, answered).await.is_ok()
    }

    /// Comes back when auth was asked for its keys after now.
    async fn look_for(&self, kid: String) -> Result<(), Problem> {
        if self.inner.is_auth || self.read_strange(&kid) {
            return Ok(());
        }
        let Ok(_place) = self.inner.waiting.try_acquire() else {
            return Err(Problem::unavailable(anyhow::anyhow!(
                "too many requests wait for the keys of auth"
            )));
        };
        if !self.refresh().await {
            // Nobody can say whether the token is good.
            return Err(Problem::unavailable(anyhow::anyhow!(
                "auth did not say which keys it has"
            )));
        }
        self.note_if_strange(kid);
        Ok(())
    }

    fn read_strange(&self, kid: &str) -> bool {
        let strange = self.inner.strange.read();
        strange
            .unwrap_or_else(PoisonError::into_inner)
            .contains(kid)
    }

    fn note_if_strange(&self, kid: String) {
        if self.key(&kid).is_some() {
            return;
        }
        let strange = self.inner.strange.write();
        let mut strange = strange.unwrap_or_else(PoisonError::into_inner);
        if strange.len() >= STRANGE {
            strange.clear();
        }
        strange.insert(kid);
    }

    /// Another pod of auth may know them, or the next key be published by now.
    fn forget_strange(&self) {
        let strange = self.inner.strange.write();
        strange.unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn key(&self, kid: &str) -> Option<DecodingKey> {
        let keys = self.inner.keys.read();
        keys.unwrap_or_else(PoisonError::into_inner)
            .get(kid)
            .cloned()
    }

    fn check(&self, token: &str) -> Result<Authenticated, Refusal> {
        if token.len() > TOKEN {
            return Err(Refusal::Bad);
        }
        let header = decode_header(token).map_err(|_| Refusal::Bad)?;
        let foreign = header.jku.is_some()
            || header.jwk.is_some()
            || header.x5u.is_some()
            || header.x5c.is_some()
            || header.crit.is_some()
            || header.enc.is_some()
            || header.zip.is_some();
        if foreign || header.alg != Algorithm::EdDSA || header.typ.as_deref() != Some(TOKEN_TYPE) {
            return Err(Refusal::Bad);
        }
        let kid = header.kid.ok_or(Refusal::Bad)?;
        let Some(key) = self.key(&kid) else {
            return Err(Refusal::UnknownKey(kid));
        };
        let claims = decode::<Claims>(token, &key, &self.inner.validation)
            .map_err(|_| Refusal::Bad)?
            .claims;
        self.accept(claims, token).ok_or(Refusal::Bad)
    }

    /// The caller of a token whose signature and times are good.
    fn accept(&self, claims: Claims, token: &str) -> Option<Authenticated> {
        let now = Timestamp::now().as_second();
        let life = limits::ACCESS_TOKEN.as_secs() as i64;
        // A life longer than ours was not signed by our rules.
        if claims.iat > now + LEEWAY as i64 || claims.exp.saturating_sub(claims.iat) > life {
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

    async fn of_request(&self, headers: &HeaderMap) -> Result<Option<Authenticated>, Problem> {
        let Some(token) = self.token(headers) else {
            return Ok(None);
        };
        self.verify_or_look(&token).await.map(Some)
    }

    fn token(&self, headers: &HeaderMap) -> Option<String> {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let cookie = || {
            let jar = CookieJar::from_headers(headers);
            jar.get(access_cookie(self.inner.secure))
                .map(|cookie| cookie.value().to_owned())
        };
        bearer.map(str::to_owned).or_else(cookie)
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
            .of_request(&parts.headers)
            .await?
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
        Identity::from_ref(state).of_request(&parts.headers).await
    }
}

#[cfg(test)]
mod tests;
