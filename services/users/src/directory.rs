//! The version of everything that lists show. Two answers made at the same
//! version are the same.

use sqlx::{PgConnection, PgPool};

pub async fn version(database: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("select version from directory")
        .fetch_one(database)
        .await
}

/// Raises the version in the transaction of a change. Do it late: every other
/// change waits for the commit.
pub async fn bump(transaction: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("update directory set version = version + 1 returning version")
        .fetch_one(transaction)
        .await
}
