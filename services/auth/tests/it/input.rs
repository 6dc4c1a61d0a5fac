use reqwest::Method;
use serde_json::json;

use crate::browser::{Browser, PASSWORD};
use crate::server::{Auth, ORIGIN, count};

const SIGN_UP: &str = "/api/auth/signup";
const SIGN_IN: &str = "/api/auth/signin";

#[tokio::test]
async fn a_bad_body_gives_a_4xx_with_a_code_and_no_row() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start_with(&cluster, &[("SIGNIN_PER_MINUTE", "1000")]).await?;
    let mut browser = Browser::new(&auth);
    let invalid_utf8 = b"{\"email\":\"a\xff@example.org\",\"password\":\"tiny lamp sings over\",\"username\":\"yves\"}";
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let bodies: [&[u8]; 11] = [
        b"", b"{", b"null", b"[]", b"\"text\"", b"{}", deep.as_bytes(), invalid_utf8,
        br#"{"email":1,"password":2,"username":3}"#,
        br#"{"email":"a@example.org","password":null,"username":"yves"}"#,
        br#"{"email":"a@example.org","email":"b@example.org","password":"tiny lamp sings over","username":"yves"}"#,
    ];
    for path in [SIGN_UP, SIGN_IN] {
        for body in bodies {
            let request = browser
                .request(Method::POST, path)
                .header("content-type", "application/json");
            browser
                .send(request.body(body.to_vec()))
                .await?
                .problem(400, "invalid_json")?;
        }
        for unknown in ["id", "role", "is_admin", "created_at", "display_name"] {
            let mut body =
                json!({ "email": "a@example.org", "password": PASSWORD, "username": "yves" });
            body[unknown] = json!("x");
            browser
                .post(path, &body)
                .await?
                .problem(400, "invalid_json")?;
        }
        let padding =
            json!({ "email": "x".repeat(300_000), "password": PASSWORD, "username": "yves" });
        browser
            .post(path, &padding)
            .await?
            .problem(413, "too_large")?;
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ] {
            let request = browser
                .request(Method::POST, path)
                .header("content-type", kind)
                .body("{}");
            browser
                .send(request)
                .await?
                .problem(415, "unsupported_media_type")?;
        }
        let request = browser.request(Method::POST, path).body("{}");
        browser
            .send(request)
            .await?
            .problem(415, "unsupported_media_type")?;
    }
    for body in [
        json!({ "email": "a\0@example.org", "password": PASSWORD }),
        json!({ "email": "a@example.org", "password": "tiny\0lamp" }),
        json!({ "email": "a@example.org", "password": "x".repeat(1_025) }),
        json!({ "email": "x".repeat(255), "password": PASSWORD }),
    ] {
        browser
            .post(SIGN_IN, &body)
            .await?
            .problem(400, "invalid")?;
    }
    for path in ["/api/auth/refresh", "/api/auth/signout"] {
        browser
            .post(path, &json!({ "session_id": "x" }))
            .await?
            .problem(400, "invalid_json")?;
        let request = browser
            .request(Method::POST, path)
            .header("content-type", "text/plain")
            .body("x");
        browser
            .send(request)
            .await?
            .problem(415, "unsupported_media_type")?;
    }
    for (method, path, status, code) in [
        (Method::GET, SIGN_UP, 405, "method_not_allowed"),
        (
            Method::POST,
            "/api/auth/currentuser",
            405,
            "method_not_allowed",
        ),
        (Method::GET, "/api/auth/nothing", 404, "not_found"),
        (Method::GET, "/api/auth/currentuser/", 404, "not_found"),
    ] {
        browser
            .send(browser.request(method, path))
            .await?
            .problem(status, code)?;
    }
    for table in [
        "select count(*) from accounts",
        "select count(*) from sessions",
        "select count(*) from outbox",
    ] {
        assert_eq!(count(&cluster, table).await?, 0);
    }
    Ok(())
}

#[tokio::test]
async fn a_write_from_another_site_is_refused() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut victim = Browser::new(&auth);
    victim.sign_up("zora").await?;
    let cookies = format!(
        "auth={}; refresh={}",
        victim.cookie("auth")?,
        victim.cookie("refresh")?
    );
    let foreign: [&[(&str, &str)]; 9] = [
        &[],
        &[("origin", "null")],
        &[("origin", "http://evil.example")],
        &[("origin", "http://localhost:8080.evil.example")],
        &[("origin", "http://localhost:8081")],
        &[("origin", "https://localhost:8080")],
        &[("sec-fetch-site", "cross-site"), ("origin", ORIGIN)],
        &[("sec-fetch-site", "same-site"), ("origin", ORIGIN)],
        &[("referer", "http://localhost:8080/")],
    ];
    let http = reqwest::Client::new();
    for path in [
        SIGN_UP,
        SIGN_IN,
        "/api/auth/password",
        "/api/auth/refresh",
        "/api/auth/signout",
    ] {
        for headers in foreign {
            let mut request = http
                .post(format!("{}{path}", auth.url))
                .json(&json!({}))
                .header("cookie", &cookies);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            Browser::new(&auth)
                .send(request)
                .await?
                .problem(403, "cross_site")?;
        }
    }
    victim.current_user().await?.expect(200)?;
    let own = http
        .post(format!("{}/api/auth/refresh", auth.url))
        .header("cookie", &cookies);
    victim
        .send(own.header("sec-fetch-site", "same-origin"))
        .await?
        .expect(200)?;
    Ok(())
}

#[tokio::test]
async fn what_people_type_is_in_no_log_no_metric_and_no_error() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start_with(&cluster, &[("LOG", "trace")]).await?;
    let mut browser = Browser::new(&auth);
    let canary = "canary-7f3a9c";
    let password = format!("{canary} lamp sings over rivers");
    let email = format!("{canary}@example.org");
    let mut answers = Vec::new();
    for (path, body) in [
        (
            SIGN_UP,
            json!({ "email": email, "password": password, "username": "canary" }),
        ),
        (
            SIGN_UP,
            json!({ "email": email, "password": password, "username": "canary" }),
        ),
        (
            SIGN_UP,
            json!({ "email": canary, "password": canary, "username": format!("{canary}!") }),
        ),
        (
            SIGN_UP,
            json!({ "email": email, "password": [password], "username": "canary" }),
        ),
        (SIGN_UP, json!(password)),
        (
            SIGN_IN,
            json!({ "email": email, "password": format!("{password}\r\ninjected") }),
        ),
        (SIGN_IN, json!({ "email": email, "password": canary })),
        (SIGN_IN, json!({ "email": canary, "password": canary })),
        (SIGN_IN, json!({ "email": email, "password": password })),
    ] {
        answers.push(browser.post(path, &body).await?);
    }
    let (access, refresh) = (browser.cookie("auth")?, browser.cookie("refresh")?);
    browser.refresh().await?.expect(200)?;
    browser.sign_out().await?.expect(204)?;
    let seen = [auth.log()?, auth.metrics().await?].concat();
    assert!(
        seen.contains("signed up") && seen.contains("sign-in failed"),
        "nothing was logged"
    );
    for secret in [canary, &access, &refresh] {
        let line = seen.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
    for answer in &answers {
        assert!(
            answer.status < 400 || !answer.body.to_string().contains(canary),
            "{}",
            answer.body
        );
    }
    Ok(())
}
