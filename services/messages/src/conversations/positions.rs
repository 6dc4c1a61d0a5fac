use axum::Json;
use axum::extract::State;
use chat_events::{ConversationId, UserId, limits};
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;
use uuid::Uuid;

#[derive(Debug, Serialize, ToSchema)]
pub struct Positions {
    /// Changes when the database was restored: what was known before is void.
    epoch: String,
    positions: Vec<ConversationPosition>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationPosition {
    conversation_id: ConversationId,
    /// The newest entry of the log.
    seq: i64,
    members: Vec<UserId>,
}

/// Where the log of each of the caller's conversations stands.
#[utoipa::path(
    get,
    path = "/api/conversations/positions",
    tag = "conversations",
    responses(
        (status = 200, body = Positions),
        (status = 401, description = "No session.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn positions(
    State(pool): State<PgPool>,
    caller: Authenticated,
) -> Result<Json<Positions>, Problem> {
    let rows: Vec<PositionRow> = sqlx::query_as(
        "select e.epoch, mine.id, mine.last_seq, mine.members
         from current_epoch e
         left join (
             select c.id, c.last_seq,
                 (select array_agg(m.user_id) from members m where m.conversation_id = c.id) as members
             from members me join conversations c on c.id = me.conversation_id
             where me.user_id = $1
             order by c.last_activity_at desc limit $2
         ) mine on true",
    )
    .bind(caller.user_id().0)
    .bind(i64::from(limits::POSITIONS))
    .fetch_all(&pool)
    .await?;
    let epoch = rows
        .first()
        .map(|row| row.epoch.clone())
        .unwrap_or_default();
    let positions = rows
        .into_iter()
        .filter_map(PositionRow::into_position)
        .collect();
    Ok(Json(Positions { epoch, positions }))
}

/// Somebody without a conversation has one row with the epoch alone.
#[derive(sqlx::FromRow)]
struct PositionRow {
    epoch: String,
    id: Option<Uuid>,
    last_seq: Option<i64>,
    members: Option<Vec<Uuid>>,
}

impl PositionRow {
    fn into_position(self) -> Option<ConversationPosition> {
        Some(ConversationPosition {
            conversation_id: self.id?.into(),
            seq: self.last_seq?,
            members: self.members?.into_iter().map(UserId::from).collect(),
        })
    }
}
