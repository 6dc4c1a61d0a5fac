use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chat_events::{Code, ConversationCreated, ConversationId, Event, Member, UserId, limits};
use chat_kit::extract::Json as Body;
use chat_kit::identity::Authenticated;
use chat_kit::outbox::Outbox;
use chat_kit::{Problem, ProblemBody};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde::Deserialize;
use sqlx::{PgConnection, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Conversation;
use super::get::find;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConversation {
    /// With whom.
    user_id: UserId,
}

/// The conversation with somebody, made when there is none yet. Whoever asks
/// first and however often: a pair has one.
#[utoipa::path(
    post,
    path = "/api/conversations",
    tag = "conversations",
    request_body = NewConversation,
    responses(
        (status = 201, description = "It is new.", body = Conversation),
        (status = 200, description = "It was there already.", body = Conversation),
        (status = 400, description = "A bad body, or the caller's own id.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "No session.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "From another site, or one of the two is in too many conversations.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such person.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    State(pool): State<PgPool>,
    State(outbox): State<Outbox>,
    caller: Authenticated,
    Body(new): Body<NewConversation>,
) -> Result<(StatusCode, Json<Conversation>), Problem> {
    let me = caller.user_id();
    if new.user_id == me {
        return Err(Problem::invalid("user_id", "is your own"));
    }
    let mut transaction = pool.begin().await?;
    let known: bool =
        sqlx::query_scalar("select exists (select from people where user_id = $1 and not deleted)")
            .bind(new.user_id.0)
            .fetch_one(&mut *transaction)
            .await?;
    if !known {
        return Err(Problem::not_found());
    }
    let pair = [me.min(new.user_id), me.max(new.user_id)];
    let (id, status) = match insert(&mut transaction, pair).await? {
        Some((id, created_at)) => {
            let members = add_members(&mut transaction, id, pair, &caller).await?;
            let event = Event::ConversationCreated(ConversationCreated {
                conversation_id: id,
                members,
                created_at,
            });
            outbox.put(&mut transaction, event).await?;
            (id, StatusCode::CREATED)
        }
        None => (existing(&mut transaction, pair).await?, StatusCode::OK),
    };
    transaction.commit().await?;
    outbox.wake();
    let conversation = find(&pool, me, id).await?.ok_or_else(Problem::not_found)?;
    Ok((status, Json(conversation)))
}

/// Nothing when the pair has one. Waits for another that is just being made.
async fn insert(
    transaction: &mut PgConnection,
    [low, high]: [UserId; 2],
) -> sqlx::Result<Option<(ConversationId, Timestamp)>> {
    let created_at = Timestamp::now();
    let id: Option<Uuid> = sqlx::query_scalar(
        "insert into conversations (id, kind, low_id, high_id, created_at, last_activity_at)
         values ($1, 'direct', $2, $3, $4, $4)
         on conflict on constraint conversations_pair_key do nothing
         returning id",
    )
    .bind(ConversationId::generate().0)
    .bind(low.0)
    .bind(high.0)
    .bind(created_at.to_sqlx())
    .fetch_optional(transaction)
    .await?;
    Ok(id.map(|id| (id.into(), created_at)))
}

async fn existing(
    transaction: &mut PgConnection,
    [low, high]: [UserId; 2],
) -> sqlx::Result<ConversationId> {
    let id: Uuid =
        sqlx::query_scalar("select id from conversations where low_id = $1 and high_id = $2")
            .bind(low.0)
            .bind(high.0)
            .fetch_one(transaction)
            .await?;
    Ok(id.into())
}

async fn add_members(
    transaction: &mut PgConnection,
    conversation: ConversationId,
    pair: [UserId; 2],
    caller: &Authenticated,
) -> Result<Vec<Member>, Problem> {
    // The caller's token may be younger than the event that tells of the
    // account. The lowest version: that event then wins.
    sqlx::query(
        "insert into people (user_id, username, display_name, version) values ($1, $2, $2, $3)
         on conflict on constraint people_pkey do nothing",
    )
    .bind(caller.user_id().0)
    .bind(caller.username())
    .bind(i64::MIN)
    .execute(&mut *transaction)
    .await?;
    let pair = pair.map(|user| user.0);
    let full: bool = sqlx::query_scalar(
        "select exists (select from members where user_id = any($1) group by user_id having count(*) >= $2)",
    )
    .bind(pair)
    .bind(i64::from(limits::POSITIONS))
    .fetch_one(&mut *transaction)
    .await?;
    if full {
        let detail = "One of the two is in too many conversations.";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    sqlx::query("insert into members (conversation_id, user_id) select $1, unnest($2::uuid[])")
        .bind(conversation.0)
        .bind(pair)
        .execute(&mut *transaction)
        .await?;
    let rows: Vec<(Uuid, String, String)> = sqlx::query_as(
        "select user_id, username, display_name from people where user_id = any($1) order by user_id",
    )
    .bind(pair)
    .fetch_all(transaction)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(user_id, username, display_name)| Member {
            user_id: user_id.into(),
            username,
            display_name,
        })
        .collect())
}
