use chat_events::Event;

use crate::browser::{Browser, PASSWORD};
use crate::server::{Auth, Listener, count, until};

#[tokio::test]
async fn with_the_broker_down_a_sign_up_works_and_its_event_follows() -> anyhow::Result<()> {
    let (stores, cluster) = chat_local::testing::own_stores().await;
    let auth = Auth::start(&cluster).await?;
    stores.rabbitmq.stop().await?;
    until("auth notices", async || {
        let (status, parts) = auth.readiness().await?;
        Ok(status == 503 && parts["broker.publish"] == false && parts["database"] == true)
    })
    .await?;
    let mut browser = Browser::new(&auth);
    let id = browser.sign_up("agnes").await?;
    browser.current_user().await?.expect(200)?;
    browser.sign_out().await?.expect(204)?;
    browser.current_user().await?.expect(401)?;
    browser.sign_in("agnes", PASSWORD).await?.expect(200)?;
    assert!(count(&cluster, "select count(*) from outbox").await? >= 4);

    stores.rabbitmq.start().await?;
    // The durable queue of users was declared by auth, and holds what came
    // before anybody listened.
    let mut listener = Listener::of_queue(&cluster, "UserRegistrationQueue").await?;
    let events = listener.next().await?;
    assert!(matches!(&events[0], Event::UserRegistered(user) if user.user_id.to_string() == id));
    until("the outbox is empty", async || {
        Ok(count(&cluster, "select count(*) from outbox").await? == 0)
    })
    .await?;
    until("auth is ready again", async || {
        Ok(auth.readiness().await?.0 == 200)
    })
    .await
}

#[tokio::test]
async fn with_the_database_away_the_answer_is_503_and_it_comes_back() -> anyhow::Result<()> {
    let (stores, cluster) = chat_local::testing::own_stores().await;
    let auth = Auth::start(&cluster).await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("birgit").await?;
    stores.postgres.stop().await?;
    let mut other = Browser::new(&auth);
    let answer = other
        .sign_in("birgit", PASSWORD)
        .await?
        .problem(503, "unavailable")?;
    assert!(answer.retry_after().is_some());
    browser.current_user().await?.problem(503, "unavailable")?;
    browser.refresh().await?.problem(503, "unavailable")?;
    until("auth is not ready", async || {
        Ok(auth.readiness().await?.1["database"] == false)
    })
    .await?;
    stores.postgres.start().await?;
    until("auth is ready again", async || {
        Ok(auth.readiness().await?.0 == 200)
    })
    .await?;
    other.sign_in("birgit", PASSWORD).await?.expect(200)?;
    // Its refresh token was not used up by the try in vain.
    browser.refresh().await?.expect(200)?;
    Ok(())
}
