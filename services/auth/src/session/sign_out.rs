//! POST /api/auth/signout: ends the session everywhere.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chat_events::{Event, SessionId, UserId};
use chat_kit::extract::ClientAddress;
use chat_kit::{Problem, ProblemBody};
use uuid::Uuid;

use super::RefreshToken;
use crate::no_body::NoBody;
use crate::state::App;
use crate::{audit, background};

/// Sign out
///
/// Ends the session of either cookie, and clears both. Without a session there
/// is nothing to end, and the answer is the same.
#[utoipa::path(
    post,
    path = "/api/auth/signout",
    tag = "sessions",
    responses(
        (status = 204, description = "Signed out; both cookies are cleared"),
        (status = 400, description = "`invalid_json`: send nothing, or an empty object", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`cross_site`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn sign_out(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    NoBody: NoBody,
) -> Result<Response, Problem> {
    let mut transaction = app.pool.begin().await?;
    // By either cookie: the access token may have expired, or the other be lost.
    let mut sessions: BTreeSet<SessionId> = app
        .cookies
        .access(&headers)
        .and_then(|token| app.identity.verify(&token).ok())
        .map(|caller| caller.session_id())
        .into_iter()
        .collect();
    let cookie = app.cookies.refresh(&headers);
    if let Some(token) = cookie.as_deref().and_then(RefreshToken::parse) {
        sessions.extend(super::session_of(&mut transaction, &token).await?);
    }
    let mut ended: Vec<(UserId, SessionId)> = Vec::new();
    for session_id in sessions {
        let owner: Option<Uuid> =
            sqlx::query_scalar("select account_id from sessions where id = $1")
                .bind(session_id.0)
                .fetch_optional(&mut *transaction)
                .await?;
        let Some(user_id) = owner.map(UserId::from) else {
            continue;
        };
        if super::end(&mut transaction, &app.outbox, user_id, session_id).await? {
            let event = Event::UserSignedOut {
                user_id,
                session_id,
            };
            app.outbox.put(&mut transaction, event).await?;
            ended.push((user_id, session_id));
        }
    }
    transaction.commit().await?;
    app.outbox.wake();
    for (user_id, session_id) in ended {
        background::note_ended(&app, session_id);
        audit::signed_out(user_id, session_id, address);
    }
    Ok((StatusCode::NO_CONTENT, app.cookies.clear()).into_response())
}
