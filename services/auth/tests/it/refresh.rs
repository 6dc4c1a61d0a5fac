use chat_events::Event;
use futures::future::try_join_all;

use crate::browser::{Browser, PASSWORD};
use crate::server::{Auth, Listener, change, count};

#[tokio::test]
async fn an_expired_access_token_is_renewed_by_a_refresh() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("gerda").await?;
    let session = browser.current_user().await?.session().to_owned();
    let old = browser.cookies.clone();
    browser.cookies.remove("auth");
    browser.current_user().await?.expect(401)?;
    let answer = browser.refresh().await?.expect(200)?;
    assert_eq!(answer.session(), session);
    assert_ne!(browser.cookie("auth")?, old["auth"]);
    assert_ne!(browser.cookie("refresh")?, old["refresh"]);
    assert_eq!(
        browser.current_user().await?.expect(200)?.session(),
        session
    );
    // Stored are hashes, not tokens.
    assert_eq!(
        count(
            &cluster,
            "select count(*) from refresh_tokens where length(hash) = 32"
        )
        .await?,
        2
    );
    Ok(())
}

#[tokio::test]
async fn the_same_token_again_gives_the_same_successor_for_ten_seconds() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let (one, two) = (Auth::start(&cluster).await?, Auth::start(&cluster).await?);
    let mut browser = Browser::new(&one);
    browser.sign_up("hanna").await?;
    // Ten tabs at once, on two replicas.
    let tries = (0..10).map(|number| {
        let mut tab = browser.at(if number % 2 == 0 { &one } else { &two });
        async move {
            tab.refresh().await?.expect(200)?;
            tab.cookie("refresh")
        }
    });
    let successors = try_join_all(tries).await?;
    assert!(successors.iter().all(|token| *token == successors[0]));
    assert_eq!(
        count(&cluster, "select count(*) from refresh_tokens").await?,
        2
    );
    browser
        .cookies
        .insert("refresh".into(), successors[0].clone());
    browser.refresh().await?.expect(200)?;
    assert_eq!(
        count(
            &cluster,
            "select count(*) from sessions where ended_at is null"
        )
        .await?,
        1
    );
    Ok(())
}

#[tokio::test]
async fn a_used_token_ends_its_session_after_ten_seconds() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("ida").await?;
    let mut thief = browser.clone();
    browser.refresh().await?.expect(200)?;
    change(
        &cluster,
        "update refresh_tokens set used_at = used_at - interval '11 seconds'",
    )
    .await?;
    let mut listener = Listener::start(&cluster).await?;
    thief.refresh().await?.problem(401, "refresh_rejected")?;
    ended_for_all(&auth, &mut browser, &mut listener).await
}

#[tokio::test]
async fn a_used_token_ends_its_session_at_once_when_its_successor_was_used() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("jana").await?;
    let mut thief = browser.clone();
    browser.refresh().await?.expect(200)?;
    browser.refresh().await?.expect(200)?;
    let mut listener = Listener::start(&cluster).await?;
    thief.refresh().await?.problem(401, "refresh_rejected")?;
    ended_for_all(&auth, &mut browser, &mut listener).await
}

async fn ended_for_all(
    auth: &Auth,
    owner: &mut Browser,
    listener: &mut Listener,
) -> anyhow::Result<()> {
    let events = listener.next().await?;
    let Event::SessionRevoked(revoked) = &events[0] else {
        anyhow::bail!("not an end: {events:?}");
    };
    assert_eq!(auth.revoked().await?, [revoked.session_id.to_string()]);
    owner
        .current_user()
        .await?
        .problem(401, "unauthenticated")?;
    owner.refresh().await?.problem(401, "refresh_rejected")?;
    assert!(auth.log()?.contains("a used refresh token came again"));
    assert!(
        auth.metrics()
            .await?
            .contains("chat_refreshes_total{outcome=\"reused\"} 1")
    );
    Ok(())
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_for_a_week_or_a_month_old() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let (mut idle, mut old) = (Browser::new(&auth), Browser::new(&auth));
    idle.sign_up("klara").await?;
    change(
        &cluster,
        "update refresh_tokens set created_at = created_at - interval '6 days 23 hours'",
    )
    .await?;
    idle.refresh().await?.expect(200)?;
    change(
        &cluster,
        "update refresh_tokens set created_at = created_at - interval '7 days 1 minute'",
    )
    .await?;
    idle.refresh().await?.problem(401, "refresh_rejected")?;
    old.sign_in("klara", PASSWORD).await?.expect(200)?;
    old.refresh().await?.expect(200)?;
    change(
        &cluster,
        "update sessions set expires_at = expires_at - interval '29 days 23 hours'",
    )
    .await?;
    old.refresh().await?.expect(200)?;
    change(
        &cluster,
        "update sessions set expires_at = expires_at - interval '1 hour'",
    )
    .await?;
    old.refresh().await?.problem(401, "refresh_rejected")?;
    Ok(())
}

#[tokio::test]
async fn only_a_refresh_token_refreshes_and_only_there() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("luise").await?;
    let (access, refresh) = (browser.cookie("auth")?, browser.cookie("refresh")?);
    browser.cookies.clear();
    browser.refresh().await?.problem(401, "unauthenticated")?;
    for bad in [
        access.as_str(),
        "",
        "x",
        &refresh[1..],
        &"A".repeat(43),
        &format!("{refresh}A"),
    ] {
        browser.cookies.insert("refresh".into(), bad.into());
        browser.refresh().await?.expect(401)?;
        assert_eq!(browser.cookies.len(), 1, "{bad}");
    }
    browser.cookies = [
        ("auth".to_owned(), refresh.clone()),
        ("refresh".to_owned(), refresh),
    ]
    .into();
    browser
        .current_user()
        .await?
        .problem(401, "unauthenticated")?;
    browser.refresh().await?.expect(200)?;
    Ok(())
}
