//! Waiting for something to become true, with a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks again and again until `look` gives a value; an error after `limit`
/// says `what` did not happen. An error of `look` counts as not yet.
pub async fn await_until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    let mut last = None;
    loop {
        match tokio::time::timeout_at(deadline, look()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => last = None,
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            let because = last.map(|error| format!(": {error:#}")).unwrap_or_default();
            anyhow::bail!("not within {limit:?}: {what}{because}");
        }
        sleep(BETWEEN_LOOKS).await;
    }
}
