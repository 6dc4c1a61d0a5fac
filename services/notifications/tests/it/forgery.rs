//! Stands in for auth: publishes a key and signs tokens with it. A key of the
//! tests' own is needed for tokens that the real auth would never sign.

use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat_events::{SessionId, UserId};
use chat_kit::identity::{Claims, Revocation, Revocations, TOKEN_TYPE, issuer};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

const KEY_ID: &str = "of-the-tests";

pub struct Auth {
    pub url: String,
    cluster: String,
    key: EncodingKey,
    revoked: Arc<Mutex<Vec<Revocation>>>,
}

#[derive(Clone, Debug)]
pub struct Person {
    pub id: UserId,
    pub username: String,
    pub session: SessionId,
    pub token: String,
}

impl Auth {
    pub async fn start(cluster: &str) -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let jwks = json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
        }]});
        let revoked: Arc<Mutex<Vec<Revocation>>> = Arc::default();
        let listed = revoked.clone();
        let router = Router::new()
            .route("/api/auth/jwks", get(async move || Json(jwks.clone())))
            .route(
                "/internal/revocations",
                get(async move || {
                    let mut listed = listed.lock().expect("the list");
                    let revoked = std::mem::take(&mut *listed);
                    Json(Revocations { revoked })
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        let der = pair.to_pkcs8v1().expect("the key as DER");
        Self {
            url: format!("http://{address}"),
            cluster: cluster.to_owned(),
            key: EncodingKey::from_ed_der(der.as_ref()),
            revoked,
        }
    }

    /// A session of a new user.
    pub fn person(&self, username: &str) -> Person {
        self.session_of(UserId::generate(), username, 300)
    }

    pub fn session_of(&self, id: UserId, username: &str, seconds: i64) -> Person {
        let session = SessionId::generate();
        let claims = self.claims(id, username, session, seconds);
        Person {
            id,
            username: username.to_owned(),
            session,
            token: self.sign(&claims, KEY_ID),
        }
    }

    fn claims(&self, id: UserId, username: &str, session: SessionId, seconds: i64) -> Claims {
        let now = Timestamp::now().as_second();
        Claims {
            iss: issuer(&self.cluster),
            aud: self.cluster.clone(),
            sub: id,
            username: username.to_owned(),
            sid: session,
            jti: Uuid::new_v4(),
            iat: (now + seconds).min(now) - 1,
            nbf: now - 60,
            exp: now + seconds,
        }
    }

    fn sign(&self, claims: &Claims, key_id: &str) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(key_id.to_owned());
        encode(&header, claims, &self.key).expect("a token")
    }

    /// Some tokens that nobody may accept; the whole table is in `tests/`.
    pub fn bad_tokens(&self) -> Vec<(&'static str, String)> {
        let (id, session) = (UserId::generate(), SessionId::generate());
        let good = self.claims(id, "mallory", session, 300);
        let foreign = Claims {
            aud: "another".into(),
            iss: issuer("another"),
            ..good.clone()
        };
        let expired = self.claims(id, "mallory", session, -100);
        let signed = self.sign(&good, KEY_ID);
        let mut other = signed.clone().into_bytes();
        let place = other.len() - 10;
        other[place] = if other[place] == b'A' { b'B' } else { b'A' };
        vec![
            ("expired", self.sign(&expired, KEY_ID)),
            ("of another cluster", self.sign(&foreign, KEY_ID)),
            ("by an unknown key", self.sign(&good, "unknown")),
            (
                "with another signature",
                String::from_utf8(other).expect("text"),
            ),
            ("no token at all", "x".into()),
            ("empty", String::new()),
        ]
    }

    /// Ends a session without telling anybody: it is found in the list.
    pub fn revoke_silently(&self, session_id: SessionId) {
        let until = Timestamp::now() + std::time::Duration::from_secs(600);
        let mut revoked = self.revoked.lock().expect("the list");
        revoked.push(Revocation { session_id, until });
    }
}
