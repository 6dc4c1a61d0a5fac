use chat_events::{Event, UserId, UserRef};

use crate::browser::{Browser, PASSWORD};
use crate::server::{Auth, publish, until};

fn updated(user_id: UserId, display_name: &str, version: i64) -> Event {
    Event::UserUpdated(UserRef {
        user_id,
        username: "ada".into(),
        display_name: display_name.into(),
        version,
    })
}

async fn await_name(browser: &mut Browser, name: &str) -> anyhow::Result<()> {
    until(name, async || {
        let me = browser.current_user().await?.expect(200)?;
        Ok(me.body["user"]["display_name"] == name)
    })
    .await
}

#[tokio::test]
async fn a_display_name_that_changed_at_users_is_the_one_that_auth_answers() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut browser = Browser::new(&auth);
    let id: UserId = browser.sign_up("ada").await?.parse()?;
    let mut other = Browser::new(&auth);
    other.sign_up("ben").await?;
    publish(&cluster, vec![updated(id, "Ada L", 2)]).await?;
    await_name(&mut browser, "Ada L").await?;
    let again = Browser::new(&auth)
        .sign_in("ada", PASSWORD)
        .await?
        .expect(200)?;
    assert_eq!(again.body["user"]["display_name"], "Ada L");

    // Repeated, and out of order; nobody knows the last of them.
    let events = vec![
        updated(id, "Ada Lovelace", 4),
        updated(id, "Ada L", 2),
        updated(id, "Ada of before", 3),
        updated(UserId::generate(), "Nobody", 2),
    ];
    publish(&cluster, events).await?;
    await_name(&mut browser, "Ada Lovelace").await?;
    // What comes last shows that the rest has been read.
    let ben: UserId = other.current_user().await?.body["user"]["id"]
        .as_str()
        .unwrap_or_default()
        .parse()?;
    publish(&cluster, vec![updated(ben, "Ben", 2)]).await?;
    await_name(&mut other, "Ben").await?;
    await_name(&mut browser, "Ada Lovelace").await?;

    // What is said while no auth runs is heard when one is back.
    drop(auth);
    publish(&cluster, vec![updated(id, "Countess", 5)]).await?;
    let auth = Auth::start(&cluster).await?;
    await_name(&mut browser.at(&auth), "Countess").await
}
