use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::HeaderMap;
use axum::routing::get;
use chat_events::{Code, SessionId, UserId};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{EncodingKey, Header, encode};
use tokio_util::sync::CancellationToken;

use super::{Algorithm, Authenticated, Claims, Identity, TOKEN_TYPE, Timestamp, issuer};
use crate::Problem;
use crate::health::Readiness;

/// PKCS #8 of an Ed25519 seed: a fixed prefix and the 32 bytes.
fn key(seed: u8) -> EncodingKey {
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend([seed; 32]);
    EncodingKey::from_ed_der(&der)
}

fn identity() -> Identity {
    let mut jwk = Jwk::from_encoding_key(&key(1), Algorithm::EdDSA).expect("a public key");
    jwk.common.key_id = Some("ours".into());
    Identity::of_auth("test", false, &JwkSet { keys: vec![jwk] })
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

/// Stands in for auth: publishes the keys of these seeds, each under the seed as id.
async fn publisher(
    seeds: Arc<Mutex<Vec<u8>>>,
    asked: Arc<AtomicU32>,
) -> anyhow::Result<(String, CancellationToken)> {
    let keys = async move || {
        asked.fetch_add(1, Ordering::SeqCst);
        let seeds = seeds.lock().expect("seeds").clone();
        let keys = seeds.into_iter().map(|seed| {
            let mut jwk = Jwk::from_encoding_key(&key(seed), Algorithm::EdDSA).expect("a key");
            jwk.common.key_id = Some(seed.to_string());
            jwk
        });
        axum::Json(JwkSet {
            keys: keys.collect(),
        })
    };
    let router = axum::Router::new()
        .route("/api/auth/jwks", get(keys))
        .route(
            "/internal/revocations",
            get(async || axum::Json(super::Revocations::default())),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let ended = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = axum::serve(listener, router).into_future() => {}
            () = ended.cancelled() => {}
        }
    });
    Ok((url, stop))
}

/// A request with a token that the key of this seed signed.
async fn ask(identity: &Identity, seed: u8) -> Result<Option<Authenticated>, Problem> {
    let mut header = header();
    header.kid = Some(seed.to_string());
    let token = signed(&header, &claims(), seed);
    let mut headers = HeaderMap::new();
    headers.insert(
        "authorization",
        format!("Bearer {token}").parse().expect("a header"),
    );
    identity.of_request(&headers).await
}

#[tokio::test]
async fn a_token_that_comes_before_its_key_waits_for_it() -> anyhow::Result<()> {
    let (seeds, asked) = (Arc::new(Mutex::new(vec![1])), Arc::default());
    let (url, auth) = publisher(Arc::clone(&seeds), Arc::clone(&asked)).await?;
    let (identity, stop) = (Identity::new("test", false), CancellationToken::new());
    // The pod listens before it has heard from auth.
    let first = tokio::spawn({
        let identity = identity.clone();
        async move { ask(&identity, 1).await.is_ok() }
    });
    while identity.inner.looks.receiver_count() == 0 {
        tokio::task::yield_now().await;
    }
    let part = Readiness::default().part("auth");
    tokio::spawn(identity.clone().follow(url, part, stop.clone()));
    assert!(first.await?, "refused for want of any key");
    let before = asked.load(Ordering::SeqCst);
    seeds.lock().expect("seeds").push(2);
    assert!(ask(&identity, 2).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), before + 1);

    // A key of nobody is asked for once, and then refused at once.
    for _ in 0..50 {
        let refused = ask(&identity, 3).await.err().map(|problem| problem.code);
        assert_eq!(refused, Some(Code::Unauthenticated));
    }
    assert_eq!(asked.load(Ordering::SeqCst), before + 2);

    // With auth away nobody can say whether the key is a good one.
    auth.cancel();
    let unknown = ask(&identity, 4).await.err().map(|problem| problem.code);
    assert_eq!(unknown, Some(Code::Unavailable));
    assert!(ask(&identity, 2).await.is_ok());
    stop.cancel();
    Ok(())
}
