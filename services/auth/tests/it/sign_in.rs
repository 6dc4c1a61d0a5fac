use std::collections::BTreeSet;

use chat_events::Event;
use serde_json::{Value, json};

use crate::browser::{Answer, Browser, PASSWORD};
use crate::server::{Auth, Listener, change, count, database};

#[tokio::test]
async fn the_right_password_makes_a_new_session_each_time() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut browser = Browser::new(&auth);
    let id = browser.sign_up("berta").await?;
    let mut listener = Listener::start(&cluster).await?;
    let mut sessions = BTreeSet::new();
    for _ in 0..3 {
        // The cookies of the session before go along, and are not promoted.
        let answer = browser.sign_in("berta", PASSWORD).await?.expect(200)?;
        assert_eq!(answer.body["user"]["id"], id.as_str());
        assert!(sessions.insert(answer.session().to_owned()));
        assert_eq!(browser.current_user().await?.session(), answer.session());
    }
    let event = listener.next().await?.remove(0);
    assert!(matches!(event, Event::UserLoggedIn { user_id, .. } if user_id.to_string() == id));
    let body = json!({ "email": " BERTA@Example.Org ", "password": PASSWORD });
    browser.post("/api/auth/signin", &body).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_never_signs_in() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    Browser::new(&auth).sign_up("carla").await?;
    let spaced = format!(" {PASSWORD}");
    let longer = format!("{PASSWORD}x");
    let shorter = &PASSWORD[..PASSWORD.len() - 1];
    let capitals = PASSWORD.to_uppercase();
    for wrong in ["", &spaced, &longer, shorter, &capitals, "x"] {
        let mut browser = Browser::new(&auth);
        change(&cluster, "delete from account_throttles").await?;
        browser
            .sign_in("carla", wrong)
            .await?
            .problem(401, "wrong_credentials")?;
        assert!(browser.cookies.is_empty(), "{wrong:?}");
    }
    assert_eq!(count(&cluster, "select count(*) from sessions").await?, 1);
    Ok(())
}

#[tokio::test]
async fn an_unknown_email_and_a_wrong_password_give_the_same_answer() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    Browser::new(&auth).sign_up("dora").await?;
    let mut browser = Browser::new(&auth);
    let comparable = |answer: Answer| {
        let mut body = answer.body;
        body["request_id"] = Value::Null;
        let mut names: Vec<_> = answer
            .headers
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect();
        names.sort_unstable();
        (
            answer.status,
            body,
            names,
            answer.headers.get("content-length").cloned(),
        )
    };
    let wrong = comparable(browser.sign_in("dora", "wrong wrong wrong").await?);
    let unknown = comparable(browser.sign_in("nobody", "wrong wrong wrong").await?);
    assert_eq!(wrong.0, 401);
    assert_eq!(wrong, unknown);
    Ok(())
}

#[tokio::test]
async fn the_oldest_of_more_than_twenty_sessions_ends() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start_with(&cluster, &[("SIGNIN_PER_MINUTE", "1000")]).await?;
    let mut first = Browser::new(&auth);
    first.sign_up("emil").await?;
    let oldest = first.current_user().await?.session().to_owned();
    let mut second = Browser::new(&auth);
    second.sign_in("emil", PASSWORD).await?.expect(200)?;
    for _ in 0..18 {
        Browser::new(&auth)
            .sign_in("emil", PASSWORD)
            .await?
            .expect(200)?;
    }
    first.current_user().await?.expect(200)?;
    Browser::new(&auth)
        .sign_in("emil", PASSWORD)
        .await?
        .expect(200)?;
    first
        .current_user()
        .await?
        .problem(401, "unauthenticated")?;
    first.refresh().await?.problem(401, "refresh_rejected")?;
    second.current_user().await?.expect(200)?;
    assert_eq!(auth.revoked().await?, [oldest]);
    Ok(())
}

#[tokio::test]
async fn a_password_is_hashed_anew_when_the_parameters_have_risen() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let old = Auth::start(&cluster).await?;
    Browser::new(&old).sign_up("frida").await?;
    drop(old);
    let new = Auth::start_with(
        &cluster,
        &[("ARGON2_MEMORY", "24576"), ("ARGON2_PASSES", "3")],
    )
    .await?;
    let mut browser = Browser::new(&new);
    let stored = async || -> anyhow::Result<String> {
        let password = sqlx::query_scalar("select password from accounts");
        Ok(password.fetch_one(&mut database(&cluster).await?).await?)
    };
    browser
        .sign_in("frida", "wrong wrong wrong")
        .await?
        .expect(401)?;
    assert!(stored().await?.contains("$m=19456,t=2,"));
    browser.sign_in("frida", PASSWORD).await?.expect(200)?;
    assert!(stored().await?.contains("$m=24576,t=3,"));
    browser.sign_in("frida", PASSWORD).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn a_flood_of_passwords_is_refused_in_part_and_the_rest_is_answered() -> anyhow::Result<()> {
    const MEMORY: u64 = 49_152;
    let cluster = chat_local::testing::cluster().await;
    let memory = MEMORY.to_string();
    let slow = [
        ("SIGNIN_PER_MINUTE", "100000"),
        ("ARGON2_MEMORY", memory.as_str()),
    ];
    let auth = Auth::start_with(&cluster, &slow).await?;
    // Makes a first hash, too.
    Browser::new(&auth).sign_up("gisela").await?;
    let before = auth.peak_memory()?;
    let tries = (0..200).map(|number| {
        let mut browser = Browser::new(&auth);
        async move {
            browser
                .sign_in(&format!("flood{number}"), "wrong wrong wrong")
                .await
        }
    });
    let answers = futures::future::try_join_all(tries).await?;
    let (mut wrong, mut refused) = (0, 0);
    for answer in answers {
        if answer.status == 401 {
            answer.problem(401, "wrong_credentials")?;
            wrong += 1;
        } else {
            let answer = answer.problem(503, "unavailable")?;
            assert!(answer.retry_after().is_some_and(|seconds| seconds >= 1));
            refused += 1;
        }
    }
    // All who got a place had their answer, and only the full pool refused anybody:
    // nobody lost the wait for a database connection.
    let metrics = auth.metrics().await?;
    for line in [
        format!("chat_sign_ins_total{{outcome=\"wrong\"}} {wrong}"),
        format!("chat_sign_ins_total{{outcome=\"unavailable\"}} {refused}"),
        format!("chat_password_hashes_refused_total {refused}"),
    ] {
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }
    // One hash per core at once: those who wait cost next to nothing.
    let cores = std::thread::available_parallelism()?.get() as u64;
    let grown = auth.peak_memory()? - before;
    assert!(grown <= cores * MEMORY, "{grown} KiB for {wrong} hashes");
    Browser::new(&auth)
        .sign_in("gisela", PASSWORD)
        .await?
        .expect(200)?;
    Ok(())
}
