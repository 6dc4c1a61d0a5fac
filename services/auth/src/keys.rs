//! What is derived from `JWT_KEY`: the key that signs access tokens, and keys
//! for refresh tokens, throttling and the pepper. HKDF-SHA256 without a salt;
//! the info strings below must never change.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::{hkdf, hmac};
use chat_events::{SessionId, UserId, limits};
use chat_kit::identity::{Claims, TOKEN_TYPE, issuer};
use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

pub mod jwks;

const SHORTEST: usize = 32;
const SIGNING: &str = "chatcluster access token v1";
const SUCCESSOR: &str = "chatcluster refresh successor v1";
const SUBJECT: &str = "chatcluster throttle subject v1";
const SEAL: &str = "chatcluster pepper seal v1";
const NONCE: usize = 12;

pub struct Keys {
    pub current: Derived,
    /// Published and accepted, but not used to sign.
    pub previous: Option<Derived>,
    cluster: String,
    subject: hmac::Key,
}

/// The keys that come from one `JWT_KEY`.
pub struct Derived {
    /// The thumbprint of the public key (RFC 7638).
    pub id: String,
    jwk: Jwk,
    signing: EncodingKey,
    successor: hmac::Key,
    seal: RandomizedNonceKey,
}

/// Whose session a token is of.
pub struct Holder {
    pub user_id: UserId,
    pub username: String,
    pub session_id: SessionId,
}

impl Keys {
    pub fn derive(
        cluster: &str,
        key: &SecretString,
        previous: Option<&SecretString>,
    ) -> anyhow::Result<Self> {
        let current = root("JWT_KEY", key)?;
        Ok(Self {
            subject: hmac::Key::new(hmac::HMAC_SHA256, &expand(&current, SUBJECT)?),
            current: Derived::new(&current)?,
            previous: previous
                .map(|key| Derived::new(&root("JWT_KEY_PREVIOUS", key)?))
                .transpose()?,
            cluster: cluster.to_owned(),
        })
    }

    pub fn published(&self) -> JwkSet {
        let keys = self.all().map(|key| key.jwk.clone()).collect();
        JwkSet { keys }
    }

    /// The current keys first.
    pub fn all(&self) -> impl Iterator<Item = &Derived> {
        [&self.current].into_iter().chain(self.previous.as_ref())
    }

    /// A signed access token, and when it expires: never after its session.
    pub fn access_token(
        &self,
        holder: &Holder,
        session_end: Timestamp,
    ) -> anyhow::Result<(String, Timestamp)> {
        let now = Timestamp::now().as_second();
        let life = limits::ACCESS_TOKEN.as_secs() as i64;
        let exp = (now + life).min(session_end.as_second());
        let claims = Claims {
            iss: issuer(&self.cluster),
            aud: self.cluster.clone(),
            sub: holder.user_id,
            username: holder.username.clone(),
            sid: holder.session_id,
            jti: Uuid::new_v4(),
            iat: now,
            nbf: now,
            exp,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(self.current.id.clone());
        let token = encode(&header, &claims, &self.current.signing)?;
        Ok((token, Timestamp::from_second(exp)?))
    }

    /// Names an e-mail address in the table of throttles without saying it.
    pub fn subject(&self, email: &str) -> Vec<u8> {
        hmac::sign(&self.subject, email.to_lowercase().as_bytes())
            .as_ref()
            .to_vec()
    }
}

impl Derived {
    fn new(root: &hkdf::Prk) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&expand(root, SIGNING)?)?;
        let signing = EncodingKey::from_ed_der(pair.to_pkcs8v1()?.as_ref());
        let mut jwk = Jwk::from_encoding_key(&signing, Algorithm::EdDSA)?;
        let id = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            id,
            jwk,
            signing,
            successor: hmac::Key::new(hmac::HMAC_SHA256, &expand(root, SUCCESSOR)?),
            seal: RandomizedNonceKey::new(&AES_256_GCM, &expand(root, SEAL)?)?,
        })
    }

    /// The refresh token that follows `token`: always the same one, so that it
    /// can be given out again although only its hash is stored.
    pub fn successor(&self, token: &[u8]) -> Vec<u8> {
        hmac::sign(&self.successor, token).as_ref().to_vec()
    }

    /// Encrypts; `name` must be given again to open.
    pub fn seal(&self, name: &str, secret: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut text = secret.to_vec();
        let nonce = self
            .seal
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut text)?;
        Ok([nonce.as_ref().as_slice(), &text].concat())
    }

    pub fn open(&self, name: &str, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (nonce, text) = sealed
            .split_at_checked(NONCE)
            .context("the seal is too short")?;
        let nonce = Nonce::try_assume_unique_for_key(nonce)?;
        let mut text = text.to_vec();
        let secret = self
            .seal
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut text)?;
        Ok(secret.to_vec())
    }
}

/// Until when access tokens of a session that ends now may still be about:
/// their life, and time for clocks that differ.
pub const REVOKED_FOR: Duration = Duration::from_secs(900);

fn root(name: &str, key: &SecretString) -> anyhow::Result<hkdf::Prk> {
    let key = key.expose_secret().as_bytes();
    ensure!(
        key.len() >= SHORTEST,
        "{name} has {} bytes and needs at least {SHORTEST}",
        key.len()
    );
    Ok(hkdf::Salt::none(hkdf::HKDF_SHA256).extract(key))
}

fn expand(root: &hkdf::Prk, purpose: &str) -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    root.expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)?
        .fill(&mut key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::Keys;

    fn keys(key: &str, previous: Option<&str>) -> anyhow::Result<Keys> {
        let secret = |key: &str| SecretString::from(key.to_owned());
        Keys::derive("chat", &secret(key), previous.map(secret).as_ref())
    }

    const OLD: &str = "an old key that is long enough for it";
    const NEW: &str = "a new key that is also long enough for it";

    #[test]
    fn the_same_key_is_derived_again_after_a_restart() -> anyhow::Result<()> {
        // Fixed for ever: another value would end every session at an upgrade.
        assert_eq!(
            keys(OLD, None)?.current.id,
            "3t0jvU82iVOjsay7Rn0bjr12jHlOt6vXXdVKsPW7x18"
        );
        Ok(())
    }

    #[test]
    fn two_keys_are_published_in_a_rotation() -> anyhow::Result<()> {
        let (old, both) = (keys(OLD, None)?, keys(NEW, Some(OLD))?);
        let published = both.published();
        assert_eq!(published.keys.len(), 2);
        assert!(published.find(&old.current.id).is_some());
        assert_ne!(both.current.id, old.current.id);
        Ok(())
    }

    #[test]
    fn a_short_key_is_refused() {
        let error = keys("too short", None)
            .err()
            .map(|error| format!("{error:#}"));
        assert_eq!(
            error.as_deref(),
            Some("JWT_KEY has 9 bytes and needs at least 32")
        );
    }

    #[test]
    fn a_seal_opens_only_with_its_key_and_its_name() -> anyhow::Result<()> {
        let (old, new) = (keys(OLD, None)?.current, keys(NEW, None)?.current);
        let sealed = old.seal("one", b"secret")?;
        assert_eq!(old.open("one", &sealed)?, b"secret");
        assert!(old.open("two", &sealed).is_err());
        assert!(new.open("one", &sealed).is_err());
        assert!(old.open("one", b"short").is_err());
        Ok(())
    }
}
