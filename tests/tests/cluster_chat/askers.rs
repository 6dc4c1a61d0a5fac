//! People who ask every service for something again and again, and take note of each
//! answer that is not what it should be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use chat_e2e::{Person, Site};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_millis(100);
/// One of each service that has HTTP, and the client.
const PATHS: [&str; 5] = [
    "/api/auth/currentuser",
    "/api/users",
    "/api/conversations",
    "/api/notifications",
    "/",
];

pub struct Askers {
    tasks: JoinSet<u64>,
    failures: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
}

impl Askers {
    pub async fn begin(site: &Site, count: usize) -> Result<Self> {
        let mut askers = Self {
            tasks: JoinSet::new(),
            failures: Arc::default(),
            stop: CancellationToken::new(),
        };
        for _ in 0..count {
            let person = Person::sign_up(site, "asker").await?;
            let (failures, stop) = (askers.failures.clone(), askers.stop.clone());
            askers.tasks.spawn(ask(person, failures, stop));
        }
        Ok(askers)
    }

    /// How many requests there were.
    ///
    /// # Errors
    /// When one of them failed, with all that failed.
    pub async fn end(mut self) -> Result<u64> {
        self.stop.cancel();
        let mut asked = 0;
        while let Some(ended) = self.tasks.join_next().await {
            asked += ended?;
        }
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(
            failures.is_empty(),
            "{} of {asked} requests failed:\n{}",
            failures.len(),
            failures.join("\n")
        );
        Ok(asked)
    }
}

async fn ask(person: Person, failures: Arc<Mutex<Vec<String>>>, stop: CancellationToken) -> u64 {
    let mut asked = 0;
    while !stop.is_cancelled() {
        for path in PATHS {
            let mut answer = person.get(path).await;
            asked += 1;
            // The access token lives for ten minutes.
            if answer.as_ref().is_ok_and(|answer| answer.status == 401) {
                answer = match person.refresh().await {
                    Ok(fresh) if fresh.status == 200 => person.get(path).await,
                    refused => refused,
                };
                asked += 2;
            }
            let failure = match answer {
                Ok(answer) if answer.status == 200 => continue,
                Ok(answer) => format!("{} {path}: {answer}", jiff::Timestamp::now()),
                Err(error) => format!("{} {path}: {error:#}", jiff::Timestamp::now()),
            };
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push(failure);
        }
        sleep(PAUSE).await;
    }
    asked
}
