use std::time::{Duration, Instant};

use crate::browser::{Browser, PASSWORD};
use crate::server::{Auth, change, until};

#[tokio::test]
async fn five_failures_delay_an_account_known_or_not_and_then_it_recovers() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    Browser::new(&auth).sign_up("paula").await?;
    for name in ["paula", "nobody"] {
        for _ in 0..5 {
            // From many addresses: the account itself is protected.
            Browser::new(&auth)
                .sign_in(name, "wrong wrong wrong")
                .await?
                .problem(401, "wrong_credentials")?;
        }
        // Made longer, so that a slow machine sees it too.
        change(
            &cluster,
            "update account_throttles set free_at = free_at + interval '30 seconds'",
        )
        .await?;
        let answer = Browser::new(&auth)
            .sign_in(name, PASSWORD)
            .await?
            .problem(429, "throttled")?;
        assert!(
            answer
                .retry_after()
                .is_some_and(|seconds| (25..=31).contains(&seconds))
        );
        change(
            &cluster,
            "update account_throttles set free_at = free_at - interval '30 seconds'",
        )
        .await?;
    }
    let mut owner = Browser::new(&auth);
    until("the owner gets in again", async || {
        Ok(owner.sign_in("paula", PASSWORD).await?.status == 200)
    })
    .await?;
    // A success resets the counter: four failures are free again.
    for _ in 0..4 {
        Browser::new(&auth)
            .sign_in("paula", "wrong wrong wrong")
            .await?
            .problem(401, "wrong_credentials")?;
    }
    owner.sign_in("paula", PASSWORD).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn the_delay_doubles_up_to_fifteen_minutes_and_survives_a_restart() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let mut auth = Auth::start(&cluster).await?;
    let mut waits = Vec::new();
    for number in 1..=17 {
        if number == 10 {
            drop(auth);
            auth = Auth::start(&cluster).await?;
        }
        Browser::new(&auth)
            .sign_in("nobody", "wrong wrong wrong")
            .await?
            .problem(401, "wrong_credentials")?;
        let left: f64 = sqlx::query_scalar(
            "select extract(epoch from free_at - clock_timestamp())::float8 from account_throttles",
        )
        .fetch_one(&mut crate::server::database(&cluster).await?)
        .await?;
        waits.push(left);
        change(
            &cluster,
            "update account_throttles set free_at = clock_timestamp()",
        )
        .await?;
    }
    assert!(waits[..4].iter().all(|wait| *wait <= 0.0), "{waits:?}");
    for (wait, wanted) in waits[4..]
        .iter()
        .zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900])
    {
        let wanted = f64::from(wanted);
        // Between the count and the look a hash was made.
        assert!((wanted - 5.0..=wanted).contains(wait), "{waits:?}");
    }
    Ok(())
}

#[tokio::test]
async fn one_address_may_try_twenty_times_a_minute() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    for (first, same) in [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"),
    ] {
        let mut browser = Browser::new(&auth);
        browser.address = first.into();
        let started = Instant::now();
        let mut admitted = 0;
        let refused = loop {
            let answer = browser
                .sign_in(&format!("nobody{admitted}"), "wrong wrong wrong")
                .await?;
            if answer.status != 401 {
                break answer.problem(429, "throttled")?;
            }
            admitted += 1;
        };
        let refilled = started.elapsed().as_secs() / 3 + 1;
        assert!((20..=20 + refilled).contains(&admitted), "{admitted}");
        assert!(
            refused
                .retry_after()
                .is_some_and(|seconds| (1..=3).contains(&seconds))
        );
        change(
            &cluster,
            "update address_throttles set full_at = full_at + interval '1 hour'",
        )
        .await?;
        browser.address = same.into();
        browser
            .sign_in("another", "wrong wrong wrong")
            .await?
            .problem(429, "throttled")?;
        // Forging more hops does not help; another address is not touched.
        browser.address = format!("192.0.2.1, {same}");
        browser
            .sign_in("another", "wrong wrong wrong")
            .await?
            .problem(429, "throttled")?;
        Browser::new(&auth)
            .sign_in("another", "wrong wrong wrong")
            .await?
            .expect(401)?;
    }
    Ok(())
}

#[tokio::test]
async fn sign_ups_of_one_address_are_limited_too() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start_with(&cluster, &[("SIGNIN_PER_MINUTE", "2")]).await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("quinn").await?;
    browser.sign_up("renate").await?;
    let started = Instant::now();
    let body =
        serde_json::json!({ "email": "s@example.org", "password": PASSWORD, "username": "sarah" });
    let answer = browser.post("/api/auth/signup", &body).await?;
    assert!(
        started.elapsed() < Duration::from_secs(25),
        "too slow to tell"
    );
    answer.problem(429, "throttled")?;
    Ok(())
}
