//! Rows like those of messages, with its two unique indexes, on the same server.

use std::time::Instant;

use chat_e2e::load::usage::Parts;
use chat_local::Stores;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Floor, LENGTH};

const ROWS: usize = 100;
const TEXT: usize = 256;

const MAKE: &str = "create table floor_rows (
    conversation_id uuid not null, seq bigint not null, sender_id uuid not null,
    client_id uuid not null, content text not null, created_at timestamptz not null default now(),
    primary key (conversation_id, seq), unique (conversation_id, sender_id, client_id))";

struct Rows {
    conversations: Vec<Uuid>,
    seqs: Vec<i64>,
    senders: Vec<Uuid>,
    clients: Vec<Uuid>,
    texts: Vec<String>,
}

impl Rows {
    fn new(from: i64, count: usize) -> Self {
        let all = || (0..count).map(|_| Uuid::now_v7()).collect();
        Self {
            conversations: all(),
            seqs: (from..).take(count).collect(),
            senders: all(),
            clients: all(),
            texts: vec!["x".repeat(TEXT); count],
        }
    }
}

async fn measure(
    stores: &Stores,
    name: &'static str,
    mut insert: impl AsyncFnMut(&mut PgConnection, i64) -> anyhow::Result<i64>,
) -> anyhow::Result<Floor> {
    let mut database = PgConnection::connect_with(&stores.handle().postgres("postgres")).await?;
    for sql in ["drop table if exists floor_rows", MAKE] {
        sqlx::query(sql).execute(&mut database).await?;
    }
    // The statement is prepared, and the files are there.
    let mut rows = insert(&mut database, 0).await?;
    let parts = Parts::of_stores(stores).await?;
    let (before, first) = (parts.read()?, rows);
    let until = Instant::now() + LENGTH;
    while Instant::now() < until {
        rows += insert(&mut database, rows).await?;
    }
    let spent = before.until(&parts.read()?);
    sqlx::query("drop table floor_rows")
        .execute(&mut database)
        .await?;
    database.close().await?;
    Ok(Floor::of_store(name, "row", &spent, (rows - first) as f64))
}

async fn insert(database: &mut PgConnection, from: i64, count: usize) -> anyhow::Result<i64> {
    let rows = Rows::new(from, count);
    sqlx::query(
        "insert into floor_rows (conversation_id, seq, sender_id, client_id, content)
         select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::uuid[], $5::text[])",
    )
    .bind(rows.conversations)
    .bind(rows.seqs)
    .bind(rows.senders)
    .bind(rows.clients)
    .bind(rows.texts)
    .execute(database)
    .await?;
    Ok(count as i64)
}

/// A commit for each row.
pub async fn single(stores: &Stores) -> anyhow::Result<Floor> {
    measure(stores, "pg-single", async |database, from| {
        insert(database, from, 1).await
    })
    .await
}

/// A commit for each hundred.
pub async fn unnest(stores: &Stores) -> anyhow::Result<Floor> {
    measure(stores, "pg-unnest", async |database, from| {
        insert(database, from, ROWS).await
    })
    .await
}

pub async fn copy(stores: &Stores) -> anyhow::Result<Floor> {
    measure(stores, "pg-copy", async |database, from| {
        let rows = Rows::new(from, 10 * ROWS);
        let mut text = String::new();
        for row in 0..rows.seqs.len() {
            let (conversation, seq) = (rows.conversations[row], rows.seqs[row]);
            let (sender, client) = (rows.senders[row], rows.clients[row]);
            let content = &rows.texts[row];
            text.push_str(&format!(
                "{conversation}\t{seq}\t{sender}\t{client}\t{content}\n"
            ));
        }
        let mut copy = database
            .copy_in_raw(
                "copy floor_rows (conversation_id, seq, sender_id, client_id, content) from stdin",
            )
            .await?;
        copy.send(text.as_bytes()).await?;
        copy.finish().await?;
        Ok(rows.seqs.len() as i64)
    })
    .await
}
