//! Accounts and sessions: sign-up, sign-in, sign-out, cookies and tokens.

use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::{Browser, Chat, ChatSocket, NoticeSocket, Person, Refused, await_until};
use chat_events::{Service, close};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(10);
/// One path per service that needs a session.
const PRIVATE: [&str; 5] = [
    "/api/auth/currentuser",
    "/api/users",
    "/api/conversations",
    "/api/notifications",
    "/ws/chat",
];

#[tokio::test]
async fn valid_data_gives_2xx_and_a_row_duplicate_or_invalid_data_gives_4xx_naming_the_field_and_no_row()
-> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    ensure!(accounts(&chat, &ada.username).await? == 1);
    let browser = Browser::new(&chat.site)?;
    let good = || {
        let name = format!("new_{}", &Uuid::new_v4().simple().to_string()[..12]);
        json!({ "email": format!("{name}@example.org"), "password": "a long enough secret", "username": name })
    };
    for (field, value) in [
        ("email", json!("not an address")),
        ("email", json!("")),
        ("email", json!(format!("{}@example.org", "x".repeat(254)))),
        ("password", json!("short")),
        ("password", json!("password")),
        ("password", json!("p".repeat(1_025))),
        ("username", json!("ab")),
        ("username", json!("x".repeat(33))),
        ("username", json!("no spaces")),
        ("username", json!("nul\u{0}byte")),
    ] {
        let mut account = good();
        account[field] = value.clone();
        let answer = browser.post("/api/auth/signup", &account).await?;
        ensure!(
            answer.status == 400 && answer.names_field(field),
            "{field} {value}: {answer}"
        );
        let name = account["username"].as_str().unwrap_or_default();
        ensure!(accounts(&chat, name).await? == 0, "a row for {account}");
    }
    for username in [ada.username.clone(), ada.username.to_uppercase()] {
        let mut account = good();
        account["username"] = json!(username);
        let answer = browser.post("/api/auth/signup", &account).await?;
        ensure!(
            answer.status == 409 && answer.names_field("username"),
            "{answer}"
        );
        ensure!(accounts(&chat, &ada.username).await? == 1);
    }
    Ok(())
}

#[tokio::test]
async fn an_e_mail_address_has_one_account() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let name = format!("new_{}", &Uuid::new_v4().simple().to_string()[..12]);
    let stranger = Browser::new(&chat.site)?;
    let answer = stranger
        .post(
            "/api/auth/signup",
            &json!({ "email": ada.email.to_uppercase(), "password": "a long enough secret", "username": name }),
        )
        .await?;
    // Whatever is answered, it opens no session and makes no second account.
    ensure!(
        stranger.get("/api/auth/currentuser").await?.status == 401,
        "{answer}"
    );
    ensure!(accounts(&chat, &name).await? == 0);
    ada.sign_in_elsewhere().await?;
    Ok(())
}

#[tokio::test]
async fn stored_value_is_a_salted_hash_wrong_password_never_signs_in() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let ben = Person::sign_up(&chat.site, "ben").await?;
    let dump = chat.dump(Service::Auth).await?;
    for person in [&ada, &ben] {
        ensure!(dump.contains(&person.email), "the dump has no accounts");
        ensure!(!dump.contains(&person.password), "a password in clear");
    }
    let hashes: Vec<_> = dump.match_indices("$argon2id$").collect();
    ensure!(hashes.len() >= 2, "no Argon2id hash");
    let stranger = Browser::new(&chat.site)?;
    let wrong = [
        String::new(),
        ada.password.to_uppercase(),
        format!("{} ", ada.password),
        ada.password[..ada.password.len() - 1].to_owned(),
    ];
    for password in wrong {
        let answer = stranger
            .post("/api/auth/signin", &credentials(&ada.email, &password))
            .await?;
        ensure!(
            (400..500).contains(&answer.status),
            "{password:?}: {answer}"
        );
        ensure!(stranger.cookie_header().is_none());
    }
    Ok(())
}

#[tokio::test]
async fn right_password_sets_session_unknown_email_and_wrong_password_give_the_same_answer()
-> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let elsewhere = ada.sign_in_elsewhere().await?;
    elsewhere.get("/api/auth/currentuser").await?.expect(200)?;
    let stranger = Browser::new(&chat.site)?;
    let unknown = format!("{}@example.org", Uuid::new_v4());
    let mut answers = Vec::new();
    for email in [&ada.email, &unknown] {
        let answer = stranger
            .post("/api/auth/signin", &credentials(email, "not the password"))
            .await?;
        answer.expect_problem(401, "wrong_credentials")?;
        let mut body = answer.body.clone();
        body["request_id"] = Value::Null;
        let names: Vec<_> = answer.headers.keys().cloned().collect();
        answers.push((body, names));
    }
    ensure!(answers[0] == answers[1], "{answers:?}");
    Ok(())
}

#[tokio::test]
async fn after_sign_out_the_old_credential_is_refused_by_every_service_and_socket()
-> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let (access, refresh) = tokens(&ada)?;
    let mut talk = ChatSocket::open(&ada).await?;
    let mut notices = NoticeSocket::join(&ada).await?;
    ada.sign_out().await?;
    ensure!(ada.cookie_header().is_none(), "sign-out left cookies");
    let code = talk.await_close(Duration::from_secs(2)).await?;
    ensure!(code == Some(close::REVOKED), "{code:?}");
    let code = notices.await_close(Duration::from_secs(2)).await?;
    ensure!(code == Some(close::REVOKED), "{code:?}");
    await_refused_everywhere(&chat, &access, &refresh).await
}

#[tokio::test]
async fn another_password_closes_the_sockets_of_every_browser_and_the_caller_goes_on()
-> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let elsewhere = ada.sign_in_elsewhere().await?;
    let old = [tokens(&ada)?, tokens(&elsewhere)?];
    let mut sockets = Vec::new();
    for browser in [&ada, &elsewhere] {
        sockets.push((
            ChatSocket::open(browser).await?,
            NoticeSocket::join(browser).await?,
        ));
    }
    let new = format!("{} and more", ada.password);
    let change = json!({ "current_password": ada.password, "new_password": new });
    ada.post("/api/auth/password", &change).await?.expect(200)?;
    for (mut talk, mut notices) in sockets {
        let code = talk.await_close(Duration::from_secs(2)).await?;
        ensure!(code == Some(close::REVOKED), "{code:?}");
        let code = notices.await_close(Duration::from_secs(2)).await?;
        ensure!(code == Some(close::REVOKED), "{code:?}");
    }
    for (access, refresh) in &old {
        await_refused_everywhere(&chat, access, refresh).await?;
    }
    // The new session was not among those that ended.
    ChatSocket::open(&ada).await?.close().await?;
    ada.refresh().await?.expect(200)?;
    for path in PRIVATE.into_iter().filter(|path| *path != "/ws/chat") {
        ada.get(path).await?.expect(200).with_context(|| path)?;
    }
    elsewhere
        .post("/api/auth/signin", &credentials(&ada.email, &ada.password))
        .await?
        .expect_problem(401, "wrong_credentials")?;
    elsewhere
        .post("/api/auth/signin", &credentials(&ada.email, &new))
        .await?
        .expect(200)?;
    Ok(())
}

/// Cookies of a session that has ended open nothing within a second.
async fn await_refused_everywhere(chat: &Chat, access: &str, refresh: &str) -> anyhow::Result<()> {
    let thief = Browser::new(&chat.site)?;
    thief.set_cookie("auth", access);
    thief.set_cookie("refresh", refresh);
    for path in PRIVATE {
        await_until(path, Duration::from_secs(1), async || {
            let answer = if path == "/ws/chat" {
                refusal(&thief, path).await?
            } else {
                thief.get(path).await?.status
            };
            Ok((answer == 401).then_some(()))
        })
        .await?;
    }
    ensure!(refusal(&thief, "/ws/notifications/join").await? == 401);
    thief
        .post("/api/auth/refresh", &json!({}))
        .await?
        .expect_problem(401, "refresh_rejected")
}

#[tokio::test]
async fn returns_own_identity_with_a_session_401_without() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let me = ada.get("/api/auth/currentuser").await?.expect(200)?;
    ensure!(me["user"]["id"] == json!(ada.id), "{me}");
    ensure!(me["user"]["username"] == json!(ada.username), "{me}");
    ensure!(me["user"]["email"] == json!(ada.email), "{me}");
    ensure!(me["session"]["expires_at"].is_string(), "{me}");
    Browser::new(&chat.site)?
        .get("/api/auth/currentuser")
        .await?
        .expect_problem(401, "unauthenticated")
}

#[tokio::test]
async fn a_changed_display_name_is_in_the_own_identity_too() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    await_until("the profile", SOON, async || {
        let body = json!({ "display_name": "Countess of Lovelace" });
        let answer = ada.patch("/api/users/me", &body).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    await_until("the name", SOON, async || {
        let me = ada.get("/api/auth/currentuser").await?.expect(200)?;
        Ok((me["user"]["display_name"] == "Countess of Lovelace").then_some(()))
    })
    .await
}

#[tokio::test]
async fn cookie_is_httponly_and_samesite() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let answer = ada
        .post("/api/auth/signin", &credentials(&ada.email, &ada.password))
        .await?;
    let cookies: Vec<_> = answer
        .headers
        .get_all("set-cookie")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    for (name, same_site) in [("auth=", "SameSite=Lax"), ("refresh=", "SameSite=Strict")] {
        let cookie = cookies
            .iter()
            .find(|cookie| cookie.starts_with(name))
            .with_context(|| format!("no {name} in {cookies:?}"))?;
        for part in ["HttpOnly", same_site, "Path=/"] {
            ensure!(cookie.contains(part), "no {part} in {cookie}");
        }
        ensure!(!cookie.contains("Domain") && cookie.len() < 4_096);
    }
    Ok(())
}

#[tokio::test]
async fn expired_access_renews_by_refresh_a_used_or_revoked_refresh_token_is_rejected()
-> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let (_, first) = tokens(&ada)?;
    // A browser drops an expired cookie; what is left is the refresh token.
    ada.forget_cookie("auth");
    ensure!(ada.get("/api/auth/currentuser").await?.status == 401);
    ada.refresh().await?.expect(200)?;
    ada.get("/api/auth/currentuser").await?.expect(200)?;
    let (_, second) = tokens(&ada)?;
    ensure!(first != second, "the refresh token was not rotated");
    ada.refresh().await?.expect(200)?;
    // The first one was used, and its successor too: this is a thief.
    let thief = Browser::new(&chat.site)?;
    thief.set_cookie("refresh", &first);
    thief
        .post("/api/auth/refresh", &json!({}))
        .await?
        .expect_problem(401, "refresh_rejected")?;
    // So nobody can go on with this family.
    ada.refresh()
        .await?
        .expect_problem(401, "refresh_rejected")?;
    await_until("the end of the session", SOON, async || {
        let status = ada.get("/api/users").await?.status;
        Ok((status == 401).then_some(()))
    })
    .await?;
    ada.sign_in().await?;
    ada.get("/api/auth/currentuser").await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_refresh_that_lost_its_answer_may_be_repeated() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let (_, refresh) = tokens(&ada)?;
    let second = Browser::new(&chat.site)?;
    second.set_cookie("refresh", &refresh);
    ada.refresh().await?.expect(200)?;
    second
        .post("/api/auth/refresh", &json!({}))
        .await?
        .expect(200)?;
    ensure!(
        second.cookie("refresh") == ada.cookie("refresh"),
        "the family branched"
    );
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_is_no_access_token_and_the_other_way_round() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let (access, refresh) = tokens(&ada)?;
    let mixed = Browser::new(&chat.site)?;
    mixed.set_cookie("auth", &refresh);
    mixed.set_cookie("refresh", &access);
    ensure!(mixed.get("/api/users").await?.status == 401);
    ensure!(mixed.post("/api/auth/refresh", &json!({})).await?.status == 401);
    Ok(())
}

#[tokio::test]
async fn n_failures_in_a_window_give_429_for_that_account_then_recover() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let mut throttled = None;
    for _ in 0..10 {
        // From another address each time: it is the account that is throttled.
        let answer = Browser::new(&chat.site)?
            .post("/api/auth/signin", &credentials(&ada.email, "wrong"))
            .await?;
        if answer.status == 429 {
            throttled = Some(answer);
            break;
        }
        answer.expect_problem(401, "wrong_credentials")?;
    }
    let throttled = throttled.context("ten failures were not throttled")?;
    throttled.expect_problem(429, "throttled")?;
    ensure!(throttled.header("retry-after").parse::<u32>()? >= 1);
    // Another account is not affected, nor is who is signed in.
    let ben = Person::sign_up(&chat.site, "ben").await?;
    ben.sign_in_elsewhere().await?;
    ada.get("/api/auth/currentuser").await?.expect(200)?;
    await_until("a sign-in after the pause", SOON, async || {
        ada.sign_in_elsewhere().await.map(Some)
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_write_from_another_site_is_refused() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let ada = Person::sign_up(&chat.site, "ada").await?;
    let cookies = ada.cookie_header().context("no cookies")?;
    let body = json!({ "display_name": "Mallory" });
    for headers in [
        vec![],
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![
            ("origin", &*ada.site.origin),
            ("sec-fetch-site", "cross-site"),
        ],
        vec![
            ("origin", &*ada.site.origin),
            ("sec-fetch-site", "same-site"),
        ],
    ] {
        let mut request = ada
            .bare_request(Method::PATCH, "/api/users/me")
            .header("cookie", &cookies)
            .json(&body);
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let answer = ada.send(request).await?;
        answer
            .expect_problem(403, "cross_site")
            .with_context(|| format!("{headers:?}"))?;
    }
    let me = ada.get(&format!("/api/users/{}", ada.id)).await?;
    ensure!(!me.text.contains("Mallory"), "{me}");
    Ok(())
}

async fn refusal(browser: &Browser, path: &str) -> anyhow::Result<u16> {
    let origin = browser.site.origin.clone();
    match ChatSocket::connect(browser, path, Some(&origin)).await {
        Ok(_) => Ok(101),
        Err(error) => Ok(error.downcast::<Refused>()?.status),
    }
}

fn tokens(browser: &Browser) -> anyhow::Result<(String, String)> {
    let cookie = |name| {
        browser
            .cookie(name)
            .with_context(|| format!("no cookie {name}"))
    };
    Ok((cookie("auth")?, cookie("refresh")?))
}

fn credentials(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

/// How many accounts have that user name, in whatever case.
async fn accounts(chat: &Chat, username: &str) -> anyhow::Result<usize> {
    let dump = chat.dump(Service::Auth).await?.to_lowercase();
    let name = format!("\"{}\"", username.to_lowercase());
    Ok(dump
        .lines()
        .filter(|line| line.starts_with("accounts ") || line.starts_with("users "))
        .filter(|line| line.contains(&name))
        .count())
}
