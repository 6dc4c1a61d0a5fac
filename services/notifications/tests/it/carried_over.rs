//! What the release before one row per message has stored, and its pods beside ours.

use chat_events::{ConversationId, MessageId, UserId};
use chat_local::testing::{TestCluster, cluster};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::harness::{Person, Stack, database, ids, message, read, stored, until};

static MIGRATOR: Migrator = sqlx::migrate!();

/// A notice as the earlier release wrote it.
struct Earlier {
    id: Uuid,
    seq: i64,
    read: bool,
    deleted: bool,
}

impl Earlier {
    fn new(seq: i64) -> Self {
        Self {
            id: Uuid::now_v7(),
            seq,
            read: false,
            deleted: false,
        }
    }

    async fn store(&self, database: &PgPool, from: UserId, to: UserId, here: ConversationId) {
        let mut transaction = database.begin().await.expect("a transaction");
        sqlx::query("insert into inboxes (user_id) values ($1) on conflict do nothing")
            .bind(to.0)
            .execute(&mut *transaction)
            .await
            .expect("an inbox");
        sqlx::query(
            "with created as (
                 insert into notices (id, user_id, conversation_id, message_id, seq, sender_id,
                                      preview, created_at, read_at, deleted_at)
                 select $1, $2, $3, $4, $5, $6, case when $8 then '' else 'hi' end, now(),
                        case when $7 then now() end, case when $8 then now() end
                 on conflict on constraint notices_once_per_message do nothing
                 returning read_at, deleted_at
             )
             update inboxes set unread = unread + (
                 select count(*) from created where read_at is null and deleted_at is null
             ) where user_id = $2",
        )
        .bind(self.id)
        .bind(to.0)
        .bind(here.0)
        .bind(MessageId::generate().0)
        .bind(self.seq)
        .bind(from.0)
        .bind(self.read)
        .bind(self.deleted)
        .execute(&mut *transaction)
        .await
        .expect("a notice");
        transaction.commit().await.expect("a commit");
    }
}

/// A database that the earlier release has made.
async fn earlier() -> (TestCluster, PgPool) {
    let cluster = cluster().await;
    let database = database(&cluster);
    Migrator::with_migrations(MIGRATOR.iter().take(1).cloned().collect())
        .run(&database)
        .await
        .expect("the first migration");
    (cluster, database)
}

async fn earlier_count(stack: &Stack, person: &Person) -> i64 {
    sqlx::query_scalar("select unread from inboxes where user_id = $1")
        .bind(person.id.0)
        .fetch_one(&stack.database)
        .await
        .expect("a count")
}

#[tokio::test]
async fn notices_of_the_earlier_release_keep_their_ids_and_whether_they_are_read() {
    let (cluster, database) = earlier().await;
    let (ann, ben) = (UserId::generate(), UserId::generate());
    let here = ConversationId::generate();
    let mut all: Vec<Earlier> = (1..=5).map(Earlier::new).collect();
    all[0].read = true;
    all[1].deleted = true;
    all[3].read = true;
    for notice in &all {
        notice.store(&database, ann, ben, here).await;
    }
    sqlx::query("insert into read_marks (user_id, conversation_id, up_to) values ($1, $2, 1)")
        .bind(ben.0)
        .bind(here.0)
        .execute(&database)
        .await
        .expect("a mark");
    let stack = Stack::start_on(cluster, &[]).await;
    let (ben, eve) = (
        stack.auth.session_of(ben, "ben", 300),
        stack.person("eve").await,
    );
    let list = stack.list(&ben).await;
    assert_eq!(list["unread"], 2);
    let found: Vec<_> = list["notices"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|notice| (notice["id"].clone(), notice["read_at"].is_string()))
        .collect();
    let expected = [4, 3, 2, 0].map(|place| (json!(all[place].id), all[place].read));
    assert_eq!(found, expected);
    let id = all[4].id.to_string();
    assert_eq!(
        stack.delete(&eve, &id).await.status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        stack.delete(&ben, &id).await.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(stack.list(&ben).await["unread"], 1);
}

#[tokio::test]
async fn pods_of_both_releases_see_what_was_stored_read_and_deleted_at_the_other() {
    let stack = Stack::start().await;
    let (ann, ben) = (stack.person("ann").await, stack.person("ben").await);
    let here = ConversationId::generate();
    let all: Vec<Earlier> = (1..=4).map(Earlier::new).collect();
    for notice in &all {
        notice.store(&stack.database, ann.id, ben.id, here).await;
    }
    let list = stack.unread(&ben, 4).await;
    let newest_first: Vec<_> = all
        .iter()
        .rev()
        .map(|notice| notice.id.to_string())
        .collect();
    assert_eq!(ids(&list), newest_first);
    // There: one is read, one deleted.
    for (change, place) in [("read_at", 0), ("deleted_at", 1)] {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "update notices set {change} = now() where id = $1 and user_id = $2"
        )))
        .bind(all[place].id)
        .bind(ben.id.0)
        .execute(&stack.database)
        .await
        .expect("a change");
    }
    let list = stack.unread(&ben, 2).await;
    assert_eq!(ids(&list).len(), 3);
    // Here: one is deleted, and then everything is read.
    let answer = stack.delete(&ben, &newest_first[0]).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_eq!(earlier_count(&stack, &ben).await, 1);
    let kept: i64 = sqlx::query_scalar("select count(*) from notices where preview <> ''")
        .fetch_one(&stack.database)
        .await
        .expect("a count");
    assert_eq!(kept, 3, "the text of the deleted one is gone there, too");
    stack.publish(read(&[&ann, &ben], here, &ben, 9)).await;
    until("nothing unread at the other", async || {
        (earlier_count(&stack, &ben).await == 0).then_some(())
    })
    .await;
    // The same audience: a message of this release has one notice beside theirs.
    let sent = message(here, 10, &ann, "hi");
    stack.publish(stored(&[&ann, &ben], &sent)).await;
    let list: Value = stack.unread(&ben, 1).await;
    assert_eq!(ids(&list).len(), 3);
    let audiences: i64 = sqlx::query_scalar("select count(distinct audience) from audiences")
        .fetch_one(&stack.database)
        .await
        .expect("a count");
    assert_eq!(audiences, 1);
}
