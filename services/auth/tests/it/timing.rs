use std::time::Instant;

use anyhow::Context;
use serde_json::Value;

use crate::browser::{Answer, Browser};
use crate::server::{Auth, change};

/// Per side, 2,000 together; each takes one hash.
const TRIES: usize = 1_000;
/// How far from a coin one may come who guesses by the time.
const BOUND: f64 = 0.05;

/// Neither by status, headers or body, nor by the work that was done, nor by the
/// time that it took.
#[tokio::test]
async fn two_thousand_answers_do_not_tell_whether_an_account_exists() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start_with(&cluster, &[("SIGNIN_PER_MINUTE", "100000")]).await?;
    let mut browser = Browser::new(&auth);
    browser.sign_up("cecile").await?;
    // Each name is tried once, so that nothing has to be reset in between.
    change(
        &cluster,
        "insert into accounts (id, email, username, display_name, password)
         select gen_random_uuid(), name || '@example.org', name, name, password
         from accounts, generate_series(0, 999) as number,
             lateral (select 'known-' || number) as given (name)",
    )
    .await?;
    let before = hashes(&auth).await?;
    let mut seen = None;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for number in 0..TRIES {
        let mut pair = [("known", &mut known), ("other", &mut unknown)];
        // In turns, so that whatever else the machine does meets both alike.
        if number % 2 == 1 {
            pair.reverse();
        }
        for (name, times) in pair {
            let name = format!("{name}-{number}");
            let started = Instant::now();
            let answer = browser.sign_in(&name, "wrong wrong wrong").await?;
            times.push(started.elapsed());
            let answer = comparable(answer.problem(401, "wrong_credentials")?);
            assert_eq!(
                *seen.get_or_insert_with(|| answer.clone()),
                answer,
                "{name}"
            );
        }
    }
    // The work is counted, which no other load on the machine can hide.
    assert_eq!(hashes(&auth).await? - before, 2 * TRIES as u64);
    let slower = known
        .iter()
        .map(|time| unknown.iter().filter(|other| time > *other).count())
        .sum::<usize>();
    let n = TRIES as f64;
    // The share of pairs in which the known account took longer: what one who guesses
    // by the time gets right. A coin gets 0.5. Ranks, and not means: a pause of the
    // machine in the middle of a try moves one rank.
    let area = slower as f64 / (n * n);
    // Of two samples of n from one distribution, the area has the standard deviation
    // sqrt((2n + 1) / 12n²), here 0.0129 (Mann and Whitney, 1947). The bound is 3.9 of
    // them: chance alone is farther off once in 9,000 runs. Without the second hash the
    // area is near 1; a difference of a fifth of the spread of the times makes 0.556.
    assert!((area - 0.5).abs() <= BOUND, "{area}");
    Ok(())
}

/// What somebody sees of an answer, but for the id of the request and the date.
fn comparable(answer: Answer) -> (Value, Vec<(String, String)>) {
    let mut body = answer.body;
    body["request_id"] = Value::Null;
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| match name.as_str() {
            varies @ ("date" | "x-request-id") => (varies.to_owned(), String::new()),
            name => (name.to_owned(), format!("{value:?}")),
        })
        .collect();
    headers.sort_unstable();
    (body, headers)
}

/// How many passwords were hashed so far.
async fn hashes(auth: &Auth) -> anyhow::Result<u64> {
    let metrics = auth.metrics().await?;
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix("chat_password_hash_seconds_count "));
    Ok(count.context("no count of hashes")?.parse()?)
}
