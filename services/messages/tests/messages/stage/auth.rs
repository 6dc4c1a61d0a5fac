//! Stands for auth: serves one key and signs whatever a test wants to try.
//! The real one cannot issue the tokens that must be refused.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::Ed25519KeyPair;
use axum::Json;
use axum::routing::get;
use chat_events::UserId;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

pub struct Auth {
    pub url: String,
    cluster: String,
    key: EncodingKey,
}

#[derive(Clone, Serialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: UserId,
    pub username: String,
    pub sid: Uuid,
    pub jti: Uuid,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
}

impl Auth {
    pub async fn start(cluster: &str) -> Self {
        let key = new_key();
        let mut jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA).expect("a key");
        jwk.common.key_id = Some("test".into());
        let keys = JwkSet { keys: vec![jwk] };
        let router = axum::Router::new()
            .route("/api/auth/jwks", get(async move || Json(keys)))
            .route(
                "/internal/revocations",
                get(async || Json(json!({ "revoked": [] }))),
            );
        let port = chat_local::ports::free().expect("a free port");
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
            .await
            .expect("a listener");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            url: format!("http://127.0.0.1:{port}"),
            cluster: cluster.to_owned(),
            key,
        }
    }

    pub fn token(&self, user: UserId, username: &str) -> String {
        self.sign(&self.claims(user, username))
    }

    /// The claims of a good token.
    pub fn claims(&self, user: UserId, username: &str) -> Claims {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock")
            .as_secs() as i64;
        Claims {
            iss: format!("chatcluster/{}", self.cluster),
            aud: self.cluster.clone(),
            sub: user,
            username: username.into(),
            sid: Uuid::new_v4(),
            jti: Uuid::new_v4(),
            iat: now,
            nbf: now,
            exp: now + 600,
        }
    }

    pub fn sign(&self, claims: &Claims) -> String {
        sign(claims, &self.key)
    }

    /// With a key that is not auth's, under the id of the one that is.
    pub fn forge(claims: &Claims) -> String {
        sign(claims, &new_key())
    }
}

fn sign(claims: &Claims, key: &EncodingKey) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some("at+jwt".into());
    header.kid = Some("test".into());
    jsonwebtoken::encode(&header, claims, key).expect("a token")
}

fn new_key() -> EncodingKey {
    let pair = Ed25519KeyPair::generate().expect("a key");
    EncodingKey::from_ed_der(pair.to_pkcs8v1().expect("a document").as_ref())
}
