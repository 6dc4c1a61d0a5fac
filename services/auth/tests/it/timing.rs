use std::time::Instant;

use crate::browser::Browser;
use crate::server::{Auth, change};

const TRIES: usize = 80;

#[tokio::test]
async fn the_time_of_an_answer_does_not_tell_whether_an_account_exists() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start_with(&cluster, &[("SIGNIN_PER_MINUTE", "100000")]).await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("cecile").await?;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..TRIES {
        change(&cluster, "delete from account_throttles").await?;
        // In turns, so that whatever else the machine does meets both.
        for (name, times) in [("cecile", &mut known), ("nobody", &mut unknown)] {
            let started = Instant::now();
            browser
                .sign_in(name, "wrong wrong wrong")
                .await?
                .expect(401)?;
            times.push(started.elapsed());
        }
    }
    let slower = known
        .iter()
        .map(|time| unknown.iter().filter(|other| time > *other).count())
        .sum::<usize>();
    let area = slower as f64 / (TRIES * TRIES) as f64;
    // 0.5 is a guess. With so few tries chance alone stays within 0.32 and 0.68
    // (four standard deviations); without the second hash it is 1.
    assert!((0.32..=0.68).contains(&area), "{area}");
    Ok(())
}
