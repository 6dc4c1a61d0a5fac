//! Access tokens: what is accepted was signed by auth, and says what auth says.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chat_e2e::fuzz::{fuzz, must};
use chat_e2e::{Forge, Forged};
use chat_events::limits;
use chat_kit::identity::Identity;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

const CLUSTER: &str = "chat";
const KEY_ID: &str = "of-the-tests";
/// Seconds by which two clocks may differ.
const LEEWAY: i64 = 30;

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key")
}

fn identity() -> Identity {
    let x = BASE64.encode(key().public_key().as_ref());
    let keys = json!({ "keys": [{
        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KEY_ID, "x": x,
    }]});
    let keys = serde_json::from_value(keys).expect("a key set");
    Identity::of_auth(CLUSTER, false, &keys)
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": KEY_ID })
}

fn claims() -> Value {
    let now = Timestamp::now().as_second();
    json!({
        "iss": format!("chatcluster/{CLUSTER}"), "aud": CLUSTER, "sub": Uuid::from_u128(1),
        "username": "ada", "sid": Uuid::from_u128(2), "jti": Uuid::from_u128(3),
        "iat": now, "nbf": now, "exp": now + 500,
    })
}

/// The three parts, whatever the first two are.
fn sign(header: &[u8], claims: &[u8]) -> String {
    let text = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let signature = BASE64.encode(key().sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn good() -> String {
    sign(
        header().to_string().as_bytes(),
        claims().to_string().as_bytes(),
    )
}

fn forge() -> Vec<Forged> {
    let forge = Forge::new(&good(), key()).expect("a forge");
    let theirs = Ed25519KeyPair::from_seed_unchecked(&[2; 32]).expect("a key");
    let foreign = forge.foreign("another", &theirs);
    // The session that has ended is of the services' own tests.
    let mut tokens = forge.tokens("a-refresh-token", &foreign, &foreign);
    tokens.retain(|forged| !forged.token.is_empty());
    tokens
}

#[test]
fn no_change_to_a_token_is_accepted() {
    let (identity, good) = (identity(), good());
    assert!(identity.verify(&good).is_ok());
    let tokens: Vec<Vec<u8>> = forge()
        .into_iter()
        .map(|forged| forged.token.into_bytes())
        .chain([good.clone().into_bytes()])
        .collect();
    fuzz("tokens", prop::sample::select(tokens), move |token| {
        let token = String::from_utf8_lossy(token);
        let accepted = identity.verify(&token).is_ok();
        must(!accepted || token == good, || format!("accepted {token}"))
    });
}

/// The forger has the key: still, what the token claims must be what auth claims.
#[test]
fn what_is_signed_and_accepted_says_what_auth_says() {
    let ours = identity();
    let claims_of_ours = Just(claims().to_string().into_bytes());
    fuzz("claims", claims_of_ours, move |claims| {
        let token = sign(header().to_string().as_bytes(), claims);
        match ours.verify(&token) {
            Ok(_) => is_sound(claims),
            Err(_) => Ok(()),
        }
    });
}

#[test]
fn what_is_signed_under_another_header_is_refused() {
    let ours = identity();
    let header_of_ours = Just(header().to_string().into_bytes());
    fuzz("headers", header_of_ours, move |changed| {
        let token = sign(changed, claims().to_string().as_bytes());
        let accepted = ours.verify(&token).is_ok();
        must(!accepted || says_the_same(changed), || {
            "accepted".to_owned()
        })
    });
}

fn says_the_same(changed: &[u8]) -> bool {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(changed) else {
        return false;
    };
    let ours = header();
    let named = ["alg", "typ", "kid"]
        .iter()
        .all(|name| members.remove(*name).as_ref() == ours.get(*name));
    let dangerous = ["jku", "jwk", "x5u", "x5c", "crit", "enc", "zip"];
    named
        && !dangerous
            .iter()
            .any(|name| members.get(*name).is_some_and(|value| !value.is_null()))
}

/// Read as by the services: what a token says besides may be as deep as it likes.
#[derive(Debug, Deserialize)]
struct Said {
    iss: Value,
    aud: Value,
    sub: Value,
    sid: Value,
    exp: Value,
    nbf: Value,
    iat: Value,
    username: Value,
}

fn is_sound(claims: &[u8]) -> TestCaseResult {
    let said: Said = serde_json::from_slice(claims).expect("accepted, so JSON");
    let now = Timestamp::now().as_second();
    let time = |value: &Value| value.as_i64().unwrap_or(i64::MIN);
    let life = limits::ACCESS_TOKEN.as_secs() as i64;
    let is_id = |value: &Value| value.as_str().is_some_and(|id| id.parse::<Uuid>().is_ok());
    let faults = [
        ("iss", said.iss == format!("chatcluster/{CLUSTER}")),
        ("aud", said.aud == CLUSTER),
        ("sub", is_id(&said.sub)),
        ("sid", is_id(&said.sid)),
        ("exp", time(&said.exp) >= now - LEEWAY - 1),
        (
            "life",
            time(&said.exp).saturating_sub(time(&said.iat)) <= life,
        ),
        ("nbf", time(&said.nbf) <= now + LEEWAY),
        ("iat", time(&said.iat) <= now + LEEWAY),
        ("username", said.username.is_string()),
    ];
    for (name, is_sound) in faults {
        must(is_sound, || format!("accepted with this {name}: {said:?}"))?;
    }
    Ok(())
}
