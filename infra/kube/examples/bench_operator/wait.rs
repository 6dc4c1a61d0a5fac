//! Waiting for something to become true, with a deadline.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How long anything may take that is not what is measured.
pub const PATIENCE: Duration = Duration::from_secs(300);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks again and again until there is a value. An error of `look` counts as not
/// yet, and is told when nothing came of it.
pub async fn await_until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let outcome = look().await;
        if let Ok(Some(value)) = outcome {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            let because = outcome.err().map(|error| format!(": {error:#}"));
            bail!(
                "not within {limit:?}: {what}{}",
                because.unwrap_or_default()
            );
        }
        sleep(BETWEEN_LOOKS).await;
    }
}
