use chat_events::Event;
use serde_json::json;

use crate::browser::{Answer, Browser, PASSWORD};
use crate::server::{Auth, Listener, change, count};

const NEW: &str = "another lamp hums under bridges";

async fn change_password(browser: &mut Browser, from: &str, to: &str) -> anyhow::Result<Answer> {
    let body = json!({ "current_password": from, "new_password": to });
    browser.post("/api/auth/password", &body).await
}

#[tokio::test]
async fn another_password_ends_every_session_and_gives_the_caller_a_new_one() -> anyhow::Result<()>
{
    let cluster = chat_local::testing::cluster().await;
    let (one, two) = (Auth::start(&cluster).await?, Auth::start(&cluster).await?);
    let mut browser = Browser::new(&one);
    let id = browser.sign_up("flora").await?;
    let mut other = Browser::new(&one);
    other.sign_in("flora", PASSWORD).await?.expect(200)?;
    let before = browser.clone();
    let mut ended = [
        browser.current_user().await?.session().to_owned(),
        other.current_user().await?.session().to_owned(),
    ];
    let mut listener = Listener::start(&cluster).await?;

    let answer = change_password(&mut browser, PASSWORD, NEW)
        .await?
        .expect(200)?;
    assert_eq!(answer.body["user"]["id"], id.as_str());
    assert_eq!(answer.body["user"]["username"], "flora");
    let session = answer.session().to_owned();
    assert!(!ended.contains(&session));
    for replica in [&one, &two] {
        assert_eq!(browser.at(replica).current_user().await?.session(), session);
        for old in [&before, &other] {
            let mut old = old.at(replica);
            old.current_user().await?.problem(401, "unauthenticated")?;
            old.refresh().await?.problem(401, "refresh_rejected")?;
            change_password(&mut old, NEW, PASSWORD)
                .await?
                .problem(401, "unauthenticated")?;
        }
        let mut revoked = replica.revoked().await?;
        revoked.sort_unstable();
        ended.sort_unstable();
        assert_eq!(revoked, ended);
    }
    browser.refresh().await?.expect(200)?;
    let mut stranger = Browser::new(&two);
    stranger
        .sign_in("flora", PASSWORD)
        .await?
        .problem(401, "wrong_credentials")?;
    stranger.sign_in("flora", NEW).await?.expect(200)?;

    let is_new = |event: &Event| matches!(event, Event::UserLoggedIn { session_id, .. } if session_id.to_string() == session);
    let mut revoked: Vec<String> = listener
        .until(is_new)
        .await?
        .iter()
        .filter_map(|event| match event {
            Event::SessionRevoked(revoked) => Some(revoked.session_id.to_string()),
            _ => None,
        })
        .collect();
    revoked.sort_unstable();
    assert_eq!(revoked, ended);
    Ok(())
}

#[tokio::test]
async fn a_wrong_current_or_a_weak_new_password_names_its_field_and_changes_nothing()
-> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start_with(&cluster, &[("SIGNIN_PER_MINUTE", "1000")]).await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("marguerite").await?;
    let before = browser.cookies.clone();
    let long = "x".repeat(1_025);
    for (current, new, field) in [
        ("wrong wrong wrong", NEW, "current_password"),
        ("", NEW, "current_password"),
        ("nul\0nul", NEW, "current_password"),
        (&long, NEW, "current_password"),
        (PASSWORD, "short", "new_password"),
        (PASSWORD, "password123", "new_password"),
        (PASSWORD, "marguerite77", "new_password"),
        (PASSWORD, "marguerite@example.org", "new_password"),
        (PASSWORD, "tiny\0lamp sings over", "new_password"),
        (PASSWORD, &long, "new_password"),
    ] {
        let answer = change_password(&mut browser, current, new)
            .await?
            .problem(400, "invalid")?;
        assert_eq!(answer.fields(), [field], "{current} {new}");
    }
    for body in [
        json!({}),
        json!({ "current_password": PASSWORD }),
        json!({ "current_password": PASSWORD, "new_password": NEW, "user_id": "x" }),
        json!({ "current_password": PASSWORD, "new_password": [NEW] }),
    ] {
        browser
            .post("/api/auth/password", &body)
            .await?
            .problem(400, "invalid_json")?;
    }
    let nobody = &mut Browser::new(&auth);
    change_password(nobody, PASSWORD, NEW)
        .await?
        .problem(401, "unauthenticated")?;
    assert_eq!(browser.cookies, before);
    browser.current_user().await?.expect(200)?;
    assert_eq!(count(&cluster, "select count(*) from sessions").await?, 1);
    browser.sign_in("marguerite", PASSWORD).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn tries_count_as_sign_ins_of_the_account_and_of_the_address() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start_with(&cluster, &[("SIGNIN_PER_MINUTE", "8")]).await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("greta").await?;
    for _ in 0..5 {
        change_password(&mut browser, "wrong wrong wrong", NEW)
            .await?
            .problem(400, "invalid")?;
    }
    // Made longer, so that a slow machine sees it too.
    change(
        &cluster,
        "update account_throttles set free_at = free_at + interval '30 seconds'",
    )
    .await?;
    let answer = change_password(&mut browser, PASSWORD, NEW)
        .await?
        .problem(429, "throttled")?;
    assert!(answer.retry_after().is_some_and(|seconds| seconds >= 25));
    Browser::new(&auth)
        .sign_in("greta", PASSWORD)
        .await?
        .problem(429, "throttled")?;
    change(&cluster, "delete from account_throttles").await?;
    // The right one makes the failures before it forgotten …
    change_password(&mut browser, PASSWORD, NEW)
        .await?
        .expect(200)?;
    assert_eq!(
        count(&cluster, "select count(*) from account_throttles").await?,
        0
    );
    // … and what the address has spent is spent.
    change(
        &cluster,
        "update address_throttles set full_at = full_at + interval '1 hour'",
    )
    .await?;
    change_password(&mut browser, NEW, PASSWORD)
        .await?
        .problem(429, "throttled")?;
    Ok(())
}

#[tokio::test]
async fn of_changes_and_sign_ins_at_once_one_change_wins_and_only_its_session_lives()
-> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let (one, two) = (Auth::start(&cluster).await?, Auth::start(&cluster).await?);
    let mut browser = Browser::new(&one);
    browser.sign_up("hedwig").await?;
    // All of them begin before the throttle of the account sees a failure.
    let tries = (0..8).map(|number| {
        let replica = if number % 2 == 0 { &one } else { &two };
        let (mut tab, mut elsewhere) = (browser.at(replica), Browser::new(replica));
        async move {
            if number < 4 {
                let new = format!("{NEW} {number}");
                let answer = change_password(&mut tab, PASSWORD, &new).await?;
                anyhow::Ok((answer.status == 200).then_some((tab, new)))
            } else {
                elsewhere.sign_in("hedwig", PASSWORD).await?;
                Ok(None)
            }
        }
    });
    let outcomes = futures::future::try_join_all(tries).await?;
    let mut won: Vec<_> = outcomes.into_iter().flatten().collect();
    assert_eq!(won.len(), 1);
    let (mut tab, new) = won.remove(0);
    tab.current_user().await?.expect(200)?;
    let alive = "select count(*) from sessions where ended_at is null";
    assert_eq!(count(&cluster, alive).await?, 1);
    change(&cluster, "delete from account_throttles").await?;
    let mut elsewhere = Browser::new(&one);
    elsewhere
        .sign_in("hedwig", PASSWORD)
        .await?
        .problem(401, "wrong_credentials")?;
    elsewhere.sign_in("hedwig", &new).await?.expect(200)?;
    Ok(())
}
