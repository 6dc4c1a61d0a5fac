use chat_events::Event;

use crate::browser::{Browser, PASSWORD};
use crate::server::{Auth, Listener, until};

#[tokio::test]
async fn after_sign_out_the_old_credentials_are_refused_by_every_replica() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let (one, two) = (Auth::start(&cluster).await?, Auth::start(&cluster).await?);
    let mut browser = Browser::new(&one);
    let id = browser.sign_up("mona").await?;
    let mut other = Browser::new(&one);
    other.sign_in("mona", PASSWORD).await?.expect(200)?;
    let mut old = browser.clone();
    let session = browser.current_user().await?.session().to_owned();
    let mut listener = Listener::start(&cluster).await?;

    let answer = browser.sign_out().await?.expect(204)?;
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    assert!(browser.cookies.is_empty());
    for replica in [&one, &two] {
        let mut old = old.at(replica);
        old.current_user().await?.problem(401, "unauthenticated")?;
        old.refresh().await?.problem(401, "refresh_rejected")?;
        assert_eq!(replica.revoked().await?, std::slice::from_ref(&session));
    }
    let events = listener
        .until(|event| matches!(event, Event::UserSignedOut { .. }))
        .await?;
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::SessionRevoked(revoked)
        if revoked.session_id.to_string() == session && revoked.user_id.to_string() == id))
    );
    // The session in the other browser goes on.
    other.current_user().await?.expect(200)?;
    // Nothing is left to end, and that is no fault.
    old.sign_out().await?.expect(204)?;
    Ok(())
}

#[tokio::test]
async fn either_cookie_is_enough_to_sign_out() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    Browser::new(&auth).sign_up("nele").await?;
    for lost in ["auth", "refresh"] {
        let mut browser = Browser::new(&auth);
        browser.sign_in("nele", PASSWORD).await?.expect(200)?;
        let mut before = browser.clone();
        browser.cookies.remove(lost);
        browser.sign_out().await?.expect(204)?;
        before
            .current_user()
            .await?
            .problem(401, "unauthenticated")?;
        before.refresh().await?.problem(401, "refresh_rejected")?;
    }
    Ok(())
}

#[tokio::test]
async fn a_replica_refuses_the_tokens_of_a_session_that_another_ended() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let (one, two) = (Auth::start(&cluster).await?, Auth::start(&cluster).await?);
    let mut browser = Browser::new(&one);
    browser.sign_up("olga").await?;
    let old = browser.clone();
    browser.sign_out().await?.expect(204)?;
    // Signing out looks at the list that the replica holds; the other end of the
    // session, its refresh token, is not sent along.
    let mut there = old.at(&two);
    there.cookies.remove("refresh");
    there.sign_out().await?.expect(204)?;
    until("the second replica counts the end once", async || {
        Ok(two.revoked().await?.len() == 1)
    })
    .await
}
