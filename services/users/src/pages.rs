//! Pages of the list, made once per version of the directory. The version is
//! part of the key and comes from the database, so that a page in Redis is
//! never out of date, whatever happens to Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chat_kit::Problem;
use chat_kit::cache::Cache;
use sqlx::PgPool;
use tokio::sync::OnceCell;

use crate::directory;
use crate::users::list::{Listing, Page};
use crate::users::query;

/// Only room is at stake: an old version is never asked for again.
const KEEP: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Pages {
    database: PgPool,
    cache: Cache,
    under_way: Arc<Mutex<HashMap<String, Arc<OnceCell<Page>>>>>,
}

impl Pages {
    pub fn new(database: PgPool, cache: Cache) -> Self {
        Self {
            database,
            cache,
            under_way: Arc::default(),
        }
    }

    pub async fn get(&self, listing: &Listing) -> Result<Page, Problem> {
        let version = directory::version(&self.database).await?;
        let key = serde_json::to_string(&(version, listing)).map_err(Problem::internal)?;
        if let Some(page) = self.cache.get(&key).await {
            return Ok(page);
        }
        let flight = self.board(key);
        let page = flight.page.get_or_try_init(async || {
            let page = query::page(&self.database, listing, version).await?;
            self.cache.set(&flight.key, &page, KEEP).await;
            Ok::<_, Problem>(page)
        });
        page.await.cloned()
    }

    /// Joins those who wait for the same page.
    fn board(&self, key: String) -> Flight<'_> {
        let page = self.flights().entry(key.clone()).or_default().clone();
        Flight {
            pages: self,
            key,
            page,
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<Page>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends with the first who has the page, or gives up.
struct Flight<'a> {
    pages: &'a Pages,
    key: String,
    page: Arc<OnceCell<Page>>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut flights = self.pages.flights();
        if flights
            .get(&self.key)
            .is_some_and(|page| Arc::ptr_eq(page, &self.page))
        {
            flights.remove(&self.key);
        }
    }
}
