//! What lies in a service's database.

use chat_events::Service;
use sqlx::{AssertSqlSafe, Connection};

use super::Chat;
use crate::Backstage;

impl Chat {
    /// Every row of every table, one a line: the table, then the row as JSON.
    pub async fn dump(&self, service: Service) -> anyhow::Result<String> {
        let mut database = self.database(service).await?;
        let tables: Vec<String> = sqlx::query_scalar(
            "select table_name::text from information_schema.tables
             where table_schema = 'public' and table_type = 'BASE TABLE' order by 1",
        )
        .fetch_all(&mut database)
        .await?;
        let mut dump = String::new();
        for table in tables {
            // The name comes from the catalogue.
            let sql = format!("select to_jsonb(t)::text from \"{table}\" t");
            let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_all(&mut database)
                .await?;
            for row in rows {
                dump.push_str(&format!("{table} {row}\n"));
            }
        }
        database.close().await?;
        Ok(dump)
    }
}
