//! `PATCH /api/users/me`

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use chat_events::{Code, Event, UserRef, limits, text};
use chat_kit::identity::Authenticated;
use chat_kit::outbox::Outbox;
use chat_kit::{Problem, ProblemBody, extract};
use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{COLUMNS, Row, User};
use crate::directory;

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// One line of 1 to 64 characters, not counting spaces around it.
    #[schema(min_length = 1, max_length = 64)]
    pub display_name: String,
}

/// Change one's own display name.
#[utoipa::path(
    patch,
    path = "/api/users/me",
    tag = "users",
    request_body = Update,
    responses(
        (status = 200, description = "The user as everybody sees it now", body = User),
        (status = 400, description = "`invalid`, `invalid_json`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`cross_site`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: the account was deleted", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`: also when the account is so new that it has not arrived here", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn update_me(
    caller: Authenticated,
    State(database): State<PgPool>,
    State(outbox): State<Outbox>,
    extract::Json(update): extract::Json<Update>,
) -> Result<Json<User>, Problem> {
    let display_name = parse_display_name(&update.display_name)?;
    let id = caller.user_id().0;
    let mut transaction = database.begin().await?;
    let select = format!("select {COLUMNS} from users where id = $1 for update");
    let before: Option<Row> = sqlx::query_as(AssertSqlSafe(select))
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(mut row) = before else {
        return Err(absent(&mut transaction, id).await?);
    };
    if row.display_name == display_name {
        return Ok(Json(row.into()));
    }
    let version: i64 = sqlx::query_scalar(
        "update users set display_name = $2, display_name_key = $3, version = version + 1
         where id = $1 returning version",
    )
    .bind(id)
    .bind(display_name)
    .bind(display_name.to_lowercase())
    .fetch_one(&mut *transaction)
    .await?;
    row.display_name = display_name.to_owned();
    directory::bump(&mut transaction).await?;
    let updated = Event::UserUpdated(UserRef {
        user_id: caller.user_id(),
        username: row.username.clone(),
        display_name: row.display_name.clone(),
        version,
    });
    outbox.put(&mut transaction, updated).await?;
    transaction.commit().await?;
    outbox.wake();
    Ok(Json(row.into()))
}

fn parse_display_name(given: &str) -> Result<&str, Problem> {
    let name = given.trim();
    if !limits::DISPLAY_NAME_CHARS.contains(&name.chars().count()) {
        return Err(Problem::invalid("display_name", "Use 1 to 64 characters."));
    }
    // Looked for in all that was given: a line break at the end is no typo.
    if !text::is_line(given) {
        return Err(Problem::invalid(
            "display_name",
            "Use one line of text without control characters.",
        ));
    }
    Ok(name)
}

/// The caller has a good token but no profile: deleted, or registered a moment ago.
async fn absent(transaction: &mut PgConnection, id: Uuid) -> Result<Problem, Problem> {
    let deleted: bool =
        sqlx::query_scalar("select exists (select from deleted_users where id = $1)")
            .bind(id)
            .fetch_one(transaction)
            .await?;
    Ok(if deleted {
        Problem::not_found()
    } else {
        Problem::new(Code::Unavailable, "Your profile is on its way. Try again.")
            .retry_after(Duration::from_secs(1))
    })
}

#[cfg(test)]
mod tests {
    use super::parse_display_name;

    #[test]
    fn a_display_name_is_trimmed_and_counted_in_characters() {
        assert_eq!(parse_display_name("  Zoë  ").ok(), Some("Zoë"));
        assert!(parse_display_name(&"王".repeat(64)).is_ok());
        assert!(parse_display_name(&"王".repeat(65)).is_err());
    }

    #[test]
    fn a_display_name_is_one_visible_line() {
        for bad in ["", "   ", "a\0b", "a\nb", "name\n", "\u{1b}[31m"] {
            assert!(parse_display_name(bad).is_err(), "{bad:?}");
        }
    }
}
