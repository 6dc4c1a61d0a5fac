//! Who is online. Pods keep leases in Redis and give hints; here alone it is
//! decided what they mean for others. A transition is a row and an event in one
//! transaction, made with the row locked before the leases are read: of two
//! replicas that look at once, the later look is the one that stays.

use std::collections::HashMap;
use std::time::Duration;

use chat_events::{Event, Recorded, UserId, UserSeen};
use chat_kit::outbox::Outbox;
use chat_kit::presence::{Leases, View};
use sqlx::{FromRow, PgConnection, PgPool};
use tokio::sync::mpsc;
use uuid::Uuid;

use self::again::LookAgain;
use crate::directory;

mod again;
mod sweep;

/// Who has no socket any more may come back this long, as with a reload of the
/// page, before others are told. Others are to see a change within two seconds.
const GRACE: Duration = Duration::from_millis(1_200);
/// Users looked at in one transaction.
const CHUNK: usize = 256;

/// Somebody whose sockets may have changed.
#[derive(Clone, Debug)]
pub struct Hint {
    pub user: UserId,
    /// The `traceparent` of what changed them.
    pub trace: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("the leases cannot be read: {0}")]
    Leases(#[from] redis::RedisError),
}

#[derive(Clone)]
pub struct Presence {
    pub database: PgPool,
    pub outbox: Outbox,
    leases: Leases,
    again: mpsc::Sender<Hint>,
}

#[derive(FromRow)]
struct Seen {
    id: Uuid,
    username: String,
    display_name: String,
    online: bool,
    away: bool,
    away_long_enough: bool,
}

/// What a look found out.
#[derive(Default)]
struct Changes {
    came: Vec<Seen>,
    came_back: Vec<Uuid>,
    maybe_left: Vec<Uuid>,
    left: Vec<Seen>,
    look_again: Vec<Uuid>,
}

impl Presence {
    /// Presence and the task that looks at those again who may have left.
    pub fn new(database: PgPool, leases: Leases, outbox: Outbox) -> (Self, LookAgain) {
        let (again, incoming) = mpsc::channel(again::WAITING);
        let presence = Self {
            database,
            outbox,
            leases,
            again,
        };
        let work = LookAgain::new(presence.clone(), incoming);
        (presence, work)
    }

    /// Looks at each of them and tells everybody who came and who left.
    pub async fn look(&self, hints: &[Hint]) -> Result<(), LookError> {
        for chunk in hints.chunks(CHUNK) {
            self.look_at(chunk).await?;
        }
        Ok(())
    }

    /// Looks where a failure can wait for the next comparison.
    pub async fn look_or_leave(&self, hints: &[Hint]) {
        if let Err(error) = self.look(hints).await {
            tracing::warn!(error = %error, "presence stays as it is for now");
        }
    }

    async fn look_at(&self, hints: &[Hint]) -> Result<(), LookError> {
        let traces: HashMap<Uuid, Option<&String>> = hints
            .iter()
            .map(|hint| (hint.user.0, hint.trace.as_ref()))
            .collect();
        let mut transaction = self.database.begin().await?;
        let rows = lock(&mut transaction, traces.keys().copied().collect()).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let users: Vec<UserId> = rows.iter().map(|row| row.id.into()).collect();
        let view = self.leases.look(&users).await?;
        let changes = Changes::between(rows, &view);
        note_absence(&mut transaction, &changes).await?;
        let trace = |id: &Uuid| traces.get(id).copied().flatten().cloned();
        let again: Vec<Hint> = changes
            .look_again
            .iter()
            .map(|id| Hint {
                user: (*id).into(),
                trace: trace(id),
            })
            .collect();
        self.tell(&mut transaction, changes, trace).await?;
        transaction.commit().await?;
        self.outbox.wake();
        for hint in again {
            // When too many wait, the next comparison finds the rest.
            let _ = self.again.try_send(hint);
        }
        Ok(())
    }

    /// Writes the transitions and their events.
    async fn tell(
        &self,
        transaction: &mut PgConnection,
        changes: Changes,
        trace: impl Fn(&Uuid) -> Option<String>,
    ) -> sqlx::Result<()> {
        if changes.came.is_empty() && changes.left.is_empty() {
            return Ok(());
        }
        let version = directory::bump(transaction).await?;
        let ids = |rows: &[Seen]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
        // A list goes back at most 32 changes of one user.
        sqlx::query(
            "update users set
                 online = not online,
                 last_seen_at = greatest(last_seen_at, coalesce(away_since, clock_timestamp())),
                 away_since = null,
                 presence_version = $2,
                 presence_changes = (presence_changes || $2)[cardinality(presence_changes) - 30:]
             where id = any($1)",
        )
        .bind([ids(&changes.came), ids(&changes.left)].concat())
        .bind(version)
        .execute(&mut *transaction)
        .await?;
        let event = |event: fn(UserSeen) -> Event, row: Seen| {
            let trace = trace(&row.id);
            Recorded::new(event(row.into()), trace)
        };
        let came = changes.came.into_iter();
        let left = changes.left.into_iter();
        let events = came
            .map(|row| event(Event::UserOnline, row))
            .chain(left.map(|row| event(Event::UserOffline, row)))
            .collect();
        self.outbox.put_all(transaction, events).await
    }
}

impl From<Seen> for UserSeen {
    fn from(row: Seen) -> Self {
        Self {
            user_id: row.id.into(),
            username: row.username,
            display_name: row.display_name,
        }
    }
}

impl Changes {
    fn between(rows: Vec<Seen>, view: &View) -> Self {
        let mut changes = Self::default();
        for row in rows {
            match (row.online, view.online.contains(&row.id.into())) {
                (false, true) => changes.came.push(row),
                (false, false) => {}
                (true, true) if row.away => changes.came_back.push(row.id),
                (true, true) => {}
                (true, false) if !row.away => {
                    changes.look_again.push(row.id);
                    changes.maybe_left.push(row.id);
                }
                (true, false) if !row.away_long_enough => changes.look_again.push(row.id),
                (true, false) if view.settled => changes.left.push(row),
                // After a loss in Redis a missing lease means nothing yet.
                (true, false) => changes.look_again.push(row.id),
            }
        }
        changes
    }
}

async fn lock(transaction: &mut PgConnection, ids: Vec<Uuid>) -> sqlx::Result<Vec<Seen>> {
    sqlx::query_as(
        "select id, username, display_name, online, away_since is not null as away,
             coalesce(away_since <= clock_timestamp() - $2 * interval '1 millisecond', false)
                 as away_long_enough
         from users where id = any($1) order by id for update",
    )
    .bind(ids)
    .bind(GRACE.as_millis() as i64)
    .fetch_all(transaction)
    .await
}

/// Nobody else sees this, so the directory keeps its version.
async fn note_absence(transaction: &mut PgConnection, changes: &Changes) -> sqlx::Result<()> {
    if !changes.came_back.is_empty() {
        sqlx::query("update users set away_since = null where id = any($1)")
            .bind(&changes.came_back)
            .execute(&mut *transaction)
            .await?;
    }
    if !changes.maybe_left.is_empty() {
        sqlx::query("update users set away_since = clock_timestamp() where id = any($1)")
            .bind(&changes.maybe_left)
            .execute(transaction)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chat_kit::presence::View;
    use uuid::Uuid;

    use super::{Changes, Seen};

    fn row(online: bool, away: bool, away_long_enough: bool) -> Seen {
        Seen {
            id: Uuid::nil(),
            username: "ada".into(),
            display_name: "Ada".into(),
            online,
            away,
            away_long_enough,
        }
    }

    fn look(row: Seen, online: bool, settled: bool) -> &'static str {
        let view = View {
            online: HashSet::from_iter(online.then_some(row.id.into())),
            settled,
        };
        let changes = Changes::between(vec![row], &view);
        let again = !changes.look_again.is_empty();
        match (
            changes.came.len(),
            changes.came_back.len(),
            changes.maybe_left.len(),
            changes.left.len(),
        ) {
            (1, 0, 0, 0) => "came",
            (0, 1, 0, 0) => "came back",
            (0, 0, 1, 0) => "may have left",
            (0, 0, 0, 1) => "left",
            (0, 0, 0, 0) if again => "look again",
            (0, 0, 0, 0) => "nothing",
            _ => "more than one",
        }
    }

    #[test]
    fn a_transition_is_told_once_and_an_absence_only_after_a_while() {
        let cases = [
            (row(false, false, false), true, true, "came"),
            (row(false, false, false), true, false, "came"),
            (row(true, false, false), true, true, "nothing"),
            (row(true, true, true), true, true, "came back"),
            (row(true, false, false), false, true, "may have left"),
            (row(true, true, false), false, true, "look again"),
            (row(true, true, true), false, true, "left"),
            (row(false, false, false), false, true, "nothing"),
        ];
        for (number, (row, online, settled, expected)) in cases.into_iter().enumerate() {
            assert_eq!(look(row, online, settled), expected, "case {number}");
        }
    }

    #[test]
    fn nobody_leaves_while_redis_is_being_filled_again() {
        assert_eq!(look(row(true, true, true), false, false), "look again");
        assert_eq!(look(row(true, false, false), false, false), "may have left");
    }
}
