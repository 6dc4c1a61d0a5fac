//! Stands in for auth in the tests of one service: publishes a key of its own,
//! and signs tokens with it, also such as the real auth would never sign.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::ensure;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat_events::{SessionId, UserId, limits};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::forged::{Forge, sign};

const KEY_ID: &str = "of-the-tests";
/// Of a session.
const SECONDS: i64 = 300;

pub struct StandInAuth {
    pub url: String,
    cluster: String,
    seed: [u8; 32],
    /// Ended before any service asked.
    ended: SessionId,
    revoked: Arc<Mutex<Vec<Value>>>,
}

/// Somebody with a session.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub id: UserId,
    pub username: String,
    pub session: SessionId,
    pub token: String,
}

impl StandInAuth {
    /// Serves until the runtime of the test ends.
    ///
    /// # Panics
    /// Without a free port.
    pub async fn start(cluster: &str) -> Self {
        match Self::try_start(cluster).await {
            Ok(auth) => auth,
            Err(error) => panic!("no auth for the test: {error:#}"),
        }
    }

    async fn try_start(cluster: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let auth = Self {
            url: format!("http://{}", listener.local_addr()?),
            cluster: cluster.to_owned(),
            seed: rand::random(),
            ended: SessionId::generate(),
            revoked: Arc::default(),
        };
        auth.revoke_silently(auth.ended);
        let keys = json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(auth.key()?.public_key().as_ref()),
        }]});
        let revoked = auth.revoked.clone();
        let list = async move || Json(json!({ "revoked": lock(&revoked).clone() }));
        let router = Router::new()
            .route("/api/auth/jwks", get(async move || Json(keys)))
            .route("/internal/revocations", get(list));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(auth)
    }

    /// A session of a new user.
    pub fn person(&self, username: &str) -> SignedIn {
        self.session_of(UserId::generate(), username, SECONDS)
    }

    /// Another session of a user.
    pub fn session_of(&self, id: UserId, username: &str, seconds: i64) -> SignedIn {
        let session = SessionId::generate();
        SignedIn {
            id,
            username: username.to_owned(),
            session,
            token: self.token(id, username, session, seconds),
        }
    }

    fn token(&self, id: UserId, username: &str, session: SessionId, seconds: i64) -> String {
        let now = Timestamp::now().as_second();
        let header = json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": KEY_ID });
        let claims = json!({
            "iss": format!("chatcluster/{}", self.cluster),
            "aud": self.cluster,
            "sub": id,
            "username": username,
            "sid": session,
            "jti": Uuid::new_v4(),
            "iat": now - 1,
            "nbf": now - 60,
            "exp": now + seconds,
        });
        match self.key() {
            Ok(key) => sign(&key, &header, &claims),
            Err(error) => panic!("no key: {error:#}"),
        }
    }

    fn key(&self) -> anyhow::Result<Ed25519KeyPair> {
        Ok(Ed25519KeyPair::from_seed_unchecked(&self.seed)?)
    }

    /// Tokens that nobody may accept, and what is wrong with each.
    ///
    /// # Panics
    /// When the forge does not work.
    pub fn bad_tokens(&self) -> Vec<(&'static str, String)> {
        let forged = || -> anyhow::Result<Vec<(&'static str, String)>> {
            let mallory = self.person("mallory");
            let ended = self.token(mallory.id, "mallory", self.ended, SECONDS);
            let forge = Forge::new(&mallory.token, self.key()?)?;
            let foreign = forge.foreign("another", &Ed25519KeyPair::generate()?);
            let forged = forge.tokens("a-refresh-token", &ended, &foreign);
            ensure!(forged.len() == crate::FORGED_TOKENS);
            let forged = forged.into_iter().map(|forged| (forged.name, forged.token));
            let none = [("no token at all", "x".into()), ("empty", String::new())];
            Ok(forged.chain(none).collect())
        };
        match forged() {
            Ok(tokens) => tokens,
            Err(error) => panic!("no forged tokens: {error:#}"),
        }
    }

    /// Ends a session without telling anybody: it is found in the list.
    pub fn revoke_silently(&self, session_id: SessionId) {
        let until = Timestamp::now() + limits::ACCESS_TOKEN;
        lock(&self.revoked).push(json!({ "session_id": session_id, "until": until }));
    }
}

fn lock(revoked: &Mutex<Vec<Value>>) -> MutexGuard<'_, Vec<Value>> {
    revoked.lock().unwrap_or_else(PoisonError::into_inner)
}
