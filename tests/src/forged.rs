//! Forty tokens that no service may accept: forged, foreign, expired, damaged.
//! Most are signed with the real key, so that it is the named fault alone that
//! must be found.

use anyhow::{Context, ensure};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

pub const COUNT: usize = 40;

pub struct Forged {
    /// What is wrong with it.
    pub name: &'static str,
    pub token: String,
}

/// What a forger could get hold of, and the real key on top.
pub struct Forge {
    /// A token that every service accepts.
    good: String,
    header: Value,
    claims: Value,
    key: Ed25519KeyPair,
}

impl Forge {
    /// `good` is a valid token, `key` is the key of auth that signed it.
    pub fn new(good: &str, key: Ed25519KeyPair) -> anyhow::Result<Self> {
        let mut parts = good.split('.').map(|part| BASE64.decode(part));
        let mut json = || -> anyhow::Result<Value> {
            let bytes = parts.next().context("a token has three parts")??;
            Ok(serde_json::from_slice(&bytes)?)
        };
        let forge = Self {
            good: good.to_owned(),
            header: json()?,
            claims: json()?,
            key,
        };
        let [head, body, signature] = forge.parts();
        let again = forge.key.sign(format!("{head}.{body}").as_bytes());
        ensure!(
            BASE64.encode(again) == signature,
            "this is not the key that auth signs with"
        );
        Ok(forge)
    }

    /// A token that is valid and was not made by auth: shows that the others
    /// are refused for their fault and not for how they are made.
    pub fn valid(&self) -> String {
        self.claiming("jti", json!(Uuid::new_v4()))
    }

    /// `refresh` is a valid refresh token, `ended` an access token of an ended
    /// session, `foreign` one of another ChatCluster.
    pub fn tokens(&self, refresh: &str, ended: &str, foreign: &str) -> Vec<Forged> {
        let now = Timestamp::now().as_second();
        let public = self.key.public_key().as_ref();
        let x = BASE64.encode(public);
        let kid = self.header["kid"].as_str().unwrap_or_default();
        let [head, body, signature] = self.parts();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid });
        let forged = |name, token| Forged { name, token };
        vec![
            forged("alg none without a signature", self.none("none", "")),
            forged("alg None in another case", self.none("nOnE", "")),
            forged(
                "alg none with a good signature",
                self.none("none", signature),
            ),
            forged("HS256 with the public key as secret", self.hs256(public)),
            forged(
                "HS256 with the published x as secret",
                self.hs256(x.as_bytes()),
            ),
            forged(
                "HS256 with the key id as secret",
                self.hs256(kid.as_bytes()),
            ),
            forged("HS256 with an empty secret", self.hs256(b"")),
            forged("alg RS256", self.heading("alg", json!("RS256"))),
            forged("alg ES256", self.heading("alg", json!("ES256"))),
            forged("no alg", self.heading("alg", Value::Null)),
            forged(
                "an unknown key under our key id",
                self.foreign_key(&self.header),
            ),
            forged(
                "an unknown key under its own id",
                self.foreign_key(&with(&self.header, "kid", json!("mine"))),
            ),
            forged(
                "an unknown key that the token brings",
                self.foreign_key(&with(&self.header, "jwk", jwk.clone())),
            ),
            forged("a jwk header", self.heading("jwk", jwk)),
            forged(
                "a jku header",
                self.heading("jku", json!("https://example.org/jwks.json")),
            ),
            forged(
                "an x5u header",
                self.heading("x5u", json!("https://example.org/x.pem")),
            ),
            forged("an x5c header", self.heading("x5c", json!(["MIIB"]))),
            forged("a crit header", self.heading("crit", json!(["exp"]))),
            forged(
                "a key id that is a path",
                self.heading("kid", json!("../../../../dev/null")),
            ),
            forged(
                "a key id that is SQL",
                self.heading("kid", json!("x' or '1'='1")),
            ),
            forged("no key id", self.heading("kid", Value::Null)),
            forged("typ JWT", self.heading("typ", json!("JWT"))),
            forged("no typ", self.heading("typ", Value::Null)),
            forged("a token of another ChatCluster", foreign.to_owned()),
            forged("another audience", self.claiming("aud", json!("other"))),
            forged("no audience", self.claiming("aud", Value::Null)),
            forged(
                "another issuer",
                self.claiming("iss", json!("chatcluster/other")),
            ),
            forged(
                "a subject that is no user id",
                self.claiming("sub", json!("1 or 1=1")),
            ),
            forged("no session", self.claiming("sid", Value::Null)),
            forged("expired a minute ago", self.lived(now - 400, now - 60)),
            forged("no expiry", self.claiming("exp", Value::Null)),
            forged(
                "an expiry that is text",
                self.claiming("exp", json!("never")),
            ),
            forged("a life of a year", self.lived(now, now + 365 * 86_400)),
            forged(
                "not valid before five minutes",
                self.claiming("nbf", json!(now + 300)),
            ),
            forged(
                "another user under our signature",
                format!(
                    "{head}.{}.{signature}",
                    encode(&with(&self.claims, "sub", json!(Uuid::new_v4())))
                ),
            ),
            forged("a changed signature", {
                let mut bytes = BASE64.decode(signature).unwrap_or_default();
                if let Some(byte) = bytes.first_mut() {
                    *byte ^= 1;
                }
                format!("{head}.{body}.{}", BASE64.encode(bytes))
            }),
            forged("two parts", format!("{head}.{body}")),
            forged(
                "longer than 4 KiB",
                self.claiming("padding", json!("x".repeat(4_096))),
            ),
            forged("a refresh token", refresh.to_owned()),
            forged("a session that has ended", ended.to_owned()),
        ]
    }

    /// The same token as auth of another ChatCluster would sign it.
    pub fn foreign(&self, cluster: &str, key: &Ed25519KeyPair) -> String {
        let claims = with(&self.claims, "aud", json!(cluster));
        let issuer = json!(format!("chatcluster/{cluster}"));
        sign(key, &self.header, &with(&claims, "iss", issuer))
    }

    fn parts(&self) -> [&str; 3] {
        let mut parts = self.good.split('.');
        std::array::from_fn(|_| parts.next().unwrap_or_default())
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        sign(&self.key, header, claims)
    }

    fn heading(&self, name: &str, value: Value) -> String {
        self.signed(&with(&self.header, name, value), &self.claims)
    }

    fn claiming(&self, name: &str, value: Value) -> String {
        self.signed(&self.header, &with(&self.claims, name, value))
    }

    fn lived(&self, from: i64, to: i64) -> String {
        let claims = ["iat", "nbf"]
            .iter()
            .fold(self.claims.clone(), |claims, name| {
                with(&claims, name, json!(from))
            });
        self.signed(&self.header, &with(&claims, "exp", json!(to)))
    }

    fn none(&self, alg: &str, signature: &str) -> String {
        let header = with(&self.header, "alg", json!(alg));
        format!("{}.{}.{signature}", encode(&header), encode(&self.claims))
    }

    fn hs256(&self, secret: &[u8]) -> String {
        let header = with(&self.header, "alg", json!("HS256"));
        let text = format!("{}.{}", encode(&header), encode(&self.claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let tag = hmac::sign(&key, text.as_bytes());
        format!("{text}.{}", BASE64.encode(tag))
    }

    fn foreign_key(&self, header: &Value) -> String {
        match Ed25519KeyPair::from_seed_unchecked(&[7; 32]) {
            Ok(key) => sign(&key, header, &self.claims),
            Err(_) => String::new(),
        }
    }
}

pub(crate) fn sign(key: &Ed25519KeyPair, header: &Value, claims: &Value) -> String {
    let text = format!("{}.{}", encode(header), encode(claims));
    let signature = BASE64.encode(key.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn encode(json: &Value) -> String {
    BASE64.encode(json.to_string())
}

/// The object with one member changed, or without it for null.
fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        if value.is_null() {
            map.remove(name);
        } else {
            map.insert(name.to_owned(), value);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use aws_lc_rs::signature::Ed25519KeyPair;
    use serde_json::json;

    use super::{COUNT, Forge, sign};

    #[test]
    fn there_are_forty_and_no_two_are_alike() -> anyhow::Result<()> {
        let key = || Ed25519KeyPair::from_seed_unchecked(&[1; 32]);
        let header = json!({ "alg": "EdDSA", "kid": "k", "typ": "at+jwt" });
        let claims = json!({
            "aud": "chat", "exp": 601, "iat": 1, "iss": "i", "nbf": 1, "sid": "s", "sub": "u",
        });
        let good = sign(&key()?, &header, &claims);
        let tokens = Forge::new(&good, key()?)?.tokens("refresh", "ended", "foreign");
        let names: HashSet<_> = tokens.iter().map(|forged| forged.name).collect();
        let texts: HashSet<_> = tokens.iter().map(|forged| &forged.token).collect();
        assert_eq!((names.len(), texts.len()), (COUNT, COUNT));
        assert!(!tokens.iter().any(|forged| forged.token == good));
        Ok(())
    }
}
