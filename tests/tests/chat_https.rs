//! What is different when the public origin is https.

use anyhow::{Context, ensure};
use chat_e2e::{Browser, Chat, ChatSocket, NoticeSocket, Person};
use http::header::SET_COOKIE;
use serde_json::json;

#[tokio::test]
async fn with_an_https_origin_cookies_are_secure_and_bound_to_the_host() -> anyhow::Result<()> {
    let chat = Chat::behind_tls().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let credentials = json!({ "email": ada.email, "password": ada.password });
    let answer = ada.post("/api/auth/signin", &credentials).await?;
    let mut names = Vec::new();
    for cookie in answer.headers.get_all(SET_COOKIE) {
        let cookie = cookie.to_str()?;
        let (name, attributes) = cookie.split_once('=').context("a name")?;
        let has = |wanted| attributes.split("; ").any(|given| given == wanted);
        // What the prefix demands of a cookie, or no browser keeps it.
        ensure!(has("Secure") && has("Path=/"), "{cookie}");
        ensure!(!attributes.contains("Domain"), "{cookie}");
        ensure!(has("HttpOnly"), "{cookie}");
        ensure!(has("SameSite=Lax") || has("SameSite=Strict"), "{cookie}");
        names.push(name.to_owned());
    }
    names.sort();
    ensure!(names == ["__Host-auth", "__Host-refresh"], "{names:?}");
    // Every service takes them …
    for path in PRIVATE {
        ada.get(path).await?.expect(200)?;
    }
    ChatSocket::open(&ada).await?.close().await?;
    NoticeSocket::join(&ada).await?.close().await?;
    // … and none takes the same token under the plain name.
    let thief = Browser::new(&chat.site)?;
    thief.set_cookie("auth", &ada.cookie("__Host-auth").context("signed in")?);
    for path in PRIVATE {
        let answer = thief.get(path).await?;
        answer.expect_problem(401, "unauthenticated")?;
    }
    Ok(())
}

const PRIVATE: [&str; 4] = [
    "/api/auth/currentuser",
    "/api/users",
    "/api/conversations",
    "/api/notifications",
];
