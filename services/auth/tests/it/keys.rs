use std::collections::BTreeSet;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::Value;

use crate::browser::{Browser, PASSWORD};
use crate::server::{Auth, change, count, until};

const OLD: &str = "an old key that is long enough for this";
const NEW: &str = "a new key that is also long enough for this";

async fn published(auth: &Auth) -> anyhow::Result<Value> {
    Ok(reqwest::get(format!("{}/api/auth/jwks", auth.url))
        .await?
        .json()
        .await?)
}

fn part(token: &str, number: usize) -> anyhow::Result<Vec<u8>> {
    Ok(BASE64.decode(token.split('.').nth(number).unwrap_or_default())?)
}

#[tokio::test]
async fn an_access_token_is_signed_by_a_published_key_and_says_what_it_must() -> anyhow::Result<()>
{
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut browser = Browser::new(&auth);
    let id = browser.sign_up("tilda").await?;
    let token = browser.cookie("auth")?;
    let keys = published(&auth).await?;
    let key = &keys["keys"][0];
    let header: Value = serde_json::from_slice(&part(&token, 0)?)?;
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header["kid"], key["kid"]);
    assert_eq!(
        (&key["kty"], &key["crv"], &key["use"], &key["alg"]),
        (
            &Value::from("OKP"),
            &"Ed25519".into(),
            &"sig".into(),
            &"EdDSA".into()
        )
    );
    assert!(key.get("d").is_none());
    let public = BASE64.decode(key["x"].as_str().unwrap_or_default())?;
    let (signed, _) = token.rsplit_once('.').unwrap_or_default();
    UnparsedPublicKey::new(&ED25519, public).verify(signed.as_bytes(), &part(&token, 2)?)?;

    let claims: Value = serde_json::from_slice(&part(&token, 1)?)?;
    let names: BTreeSet<&str> = claims
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        BTreeSet::from([
            "iss", "aud", "sub", "username", "sid", "jti", "iat", "nbf", "exp"
        ])
    );
    assert_eq!(claims["iss"], format!("chatcluster/{}", cluster.name));
    assert_eq!(claims["aud"], cluster.name.as_str());
    assert_eq!(claims["sub"], id.as_str());
    assert_eq!(claims["username"], "tilda");
    assert_eq!(
        claims["exp"]
            .as_i64()
            .zip(claims["iat"].as_i64())
            .map(|(exp, iat)| exp - iat),
        Some(600)
    );
    assert!(token.len() < 4_096);
    Ok(())
}

#[tokio::test]
async fn forged_tokens_are_refused() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let other = chat_local::testing::cluster().await;
    let (auth, foreign) = (Auth::start(&cluster).await?, Auth::start(&other).await?);
    let (mut browser, mut stranger) = (Browser::new(&auth), Browser::new(&foreign));
    browser.sign_up("uwe").await?;
    stranger.sign_up("uwe").await?;
    let good = browser.cookie("auth")?;
    let [head, body, signature]: [&str; 3] = good
        .split('.')
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_default();
    let none = BASE64.encode(br#"{"alg":"none","typ":"at+jwt"}"#);
    let mut claims: Value = serde_json::from_slice(&part(&good, 1)?)?;
    claims["username"] = "root".into();
    let other_claims = BASE64.encode(claims.to_string());
    for forged in [
        stranger.cookie("auth")?,
        browser.cookie("refresh")?,
        format!("{none}.{body}."),
        format!("{none}.{body}.{signature}"),
        format!("{head}.{other_claims}.{signature}"),
        format!("{head}.{body}"),
        format!("{head}.{body}.{}", &signature[1..]),
        format!("{good}{}", "A".repeat(4_096)),
    ] {
        browser.cookies.insert("auth".into(), forged.clone());
        browser
            .current_user()
            .await?
            .problem(401, "unauthenticated")?;
        let bearer = browser
            .request(reqwest::Method::GET, "/api/auth/currentuser")
            .bearer_auth(&forged);
        browser
            .send(bearer)
            .await?
            .problem(401, "unauthenticated")?;
    }
    browser.cookies.insert("auth".into(), good);
    browser.current_user().await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_rotation_of_the_key_refuses_no_token_and_forgets_no_password() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let before = Auth::start_with(&cluster, &[("JWT_KEY", OLD)]).await?;
    let mut browser = Browser::new(&before);
    browser.sign_up("vera").await?;
    let during = Auth::start_with(&cluster, &[("JWT_KEY", NEW), ("JWT_KEY_PREVIOUS", OLD)]).await?;
    assert_eq!(
        published(&during).await?["keys"].as_array().map(Vec::len),
        Some(2)
    );
    let mut tab = browser.at(&during);
    tab.current_user().await?.expect(200)?;
    // A refresh whose answer was lost is repeated at a replica with the new key.
    browser.refresh().await?.expect(200)?;
    tab.refresh().await?.expect(200)?;
    assert_eq!(tab.cookie("refresh")?, browser.cookie("refresh")?);
    // A replica with the old key may still start, in the middle of it all.
    drop(before);
    Auth::start_with(&cluster, &[("JWT_KEY", OLD)]).await?;
    drop(during);
    let after = Auth::start_with(&cluster, &[("JWT_KEY", NEW)]).await?;
    let mut tab = tab.at(&after);
    assert_eq!(
        published(&after).await?["keys"].as_array().map(Vec::len),
        Some(1)
    );
    tab.current_user().await?.expect(200)?;
    tab.sign_in("vera", PASSWORD).await?.expect(200)?;
    // In the end the old key opens nothing any more.
    change(
        &cluster,
        "update peppers set used_at = used_at - interval '2 days'",
    )
    .await?;
    let last = Auth::start_with(&cluster, &[("JWT_KEY", NEW)]).await?;
    until("the old seal is gone", async || {
        Ok(count(&cluster, "select count(*) from peppers").await? == 1)
    })
    .await?;
    tab.at(&last).sign_in("vera", PASSWORD).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn another_key_without_the_previous_one_is_a_fault_and_not_a_wrong_password()
-> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let right = Auth::start_with(&cluster, &[("JWT_KEY", OLD)]).await?;
    Browser::new(&right).sign_up("wanda").await?;
    drop(right);
    let wrong = Auth::launch(&cluster, &[("JWT_KEY", NEW)]).await?;
    until("everything but the pepper is ready", async || {
        let Ok((status, parts)) = wrong.readiness().await else {
            return Ok(false);
        };
        let others = parts
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| !["pepper", "running"].contains(&name.as_str()));
        Ok(status == 503
            && parts["pepper"] == false
            && others.clone().all(|(_, ready)| ready == true))
    })
    .await?;
    until("it listens all the same", async || {
        let (_, parts) = wrong.readiness().await?;
        Ok(parts["running"] == true)
    })
    .await?;
    let answer = Browser::new(&wrong)
        .sign_in("wanda", PASSWORD)
        .await?
        .problem(503, "unavailable")?;
    assert!(answer.retry_after().is_some());
    assert!(wrong.log()?.contains("JWT_KEY_PREVIOUS"));
    Ok(())
}

#[tokio::test]
async fn a_key_that_is_too_short_is_one_plain_sentence() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let mut auth = Auth::launch(&cluster, &[("JWT_KEY", "too short")]).await?;
    let error = auth.ready().await.err().map(|error| format!("{error:#}"));
    assert!(error.is_some_and(|text| text.contains("JWT_KEY has 9 bytes and needs at least 32")));
    Ok(())
}

#[tokio::test]
async fn over_https_the_cookies_carry_the_host_prefix() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start_with(
        &cluster,
        &[("PUBLIC_ORIGINS", "https://ag.dev,http://localhost:8080")],
    )
    .await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("xenia").await?;
    browser.current_user().await?.expect(200)?;
    browser.refresh().await?.expect(200)?;
    let names: Vec<_> = browser.cookies.keys().map(String::as_str).collect();
    assert_eq!(names, ["__Host-auth", "__Host-refresh"]);
    // The plain names mean nothing here.
    browser.cookies = [("auth".to_owned(), browser.cookie("__Host-auth")?)].into();
    browser
        .current_user()
        .await?
        .problem(401, "unauthenticated")?;
    Ok(())
}
