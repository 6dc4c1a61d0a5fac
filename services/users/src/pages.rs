//! Pages of the list, made once per version of the directory. The version is
//! part of the key and comes from the database, so that a page in Redis is
//! never out of date, whatever happens to Redis.

use std::time::Duration;

use chat_kit::Problem;
use chat_kit::cache::{Cache, Flights};
use sqlx::PgPool;

use crate::directory;
use crate::users::query::{self, Listing, Page};

/// Only room is at stake: an old version is never asked for again.
const KEEP: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub struct Pages {
    database: PgPool,
    cache: Cache,
    flights: Flights<Page>,
}

impl Pages {
    pub fn new(database: PgPool, cache: Cache) -> Self {
        Self {
            database,
            cache,
            flights: Flights::default(),
        }
    }

    pub async fn get(&self, listing: &Listing) -> Result<Page, Problem> {
        let version = directory::version(&self.database).await?;
        let key = serde_json::to_string(&(version, listing)).map_err(Problem::internal)?;
        if let Some(page) = self.cache.get(&key).await {
            return Ok(page);
        }
        let make = async || {
            let page = query::page(&self.database, listing, version).await?;
            self.cache.set(&key, &page, KEEP).await;
            Ok(page)
        };
        self.flights.join(&key, make).await
    }
}
