//! POST /api/auth/refresh: new cookies for the same session.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chat_events::Code;
use chat_kit::extract::ClientAddress;
use chat_kit::planted::{self, Bug};
use chat_kit::{Problem, ProblemBody, metrics as names};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Credentials, RefreshToken, Rotation, SessionInfo};
use crate::audit;
use crate::no_body::NoBody;
use crate::state::App;

#[derive(Serialize, ToSchema)]
pub struct Refreshed {
    session: SessionInfo,
}

/// New cookies for the same session
///
/// Uses up the refresh cookie. A second request with the same one gets the
/// same answer for ten seconds; after that it ends the session.
#[utoipa::path(
    post,
    path = "/api/auth/refresh",
    tag = "sessions",
    responses(
        (status = 200, description = "Both cookies are renewed", body = Refreshed),
        (status = 401, description = "`unauthenticated` without the refresh cookie, `refresh_rejected` with one that is no longer good", body = ProblemBody, content_type = "application/problem+json"),
        (status = 400, description = "`invalid_json`: send nothing, or an empty object", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`cross_site`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn refresh(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    headers: HeaderMap,
    NoBody: NoBody,
) -> Result<Response, Problem> {
    let cookie = app.cookies.refresh(&headers).ok_or(Code::Unauthenticated)?;
    let rotation = match RefreshToken::parse(&cookie) {
        Some(token) => rotate(&app, &token).await?,
        None => Rotation::Rejected,
    };
    let (label, answer) = match rotation {
        Rotation::Renewed {
            holder,
            refresh,
            expires_at,
        } => {
            let credentials = Credentials::issue(&app, &holder, &refresh, expires_at)
                .map_err(Problem::internal)?;
            ("done", Ok(credentials))
        }
        Rotation::Reused(holder) => {
            app.outbox.wake();
            audit::refresh_reused(holder.user_id, holder.session_id, address);
            ("reused", Err(Code::RefreshRejected))
        }
        Rotation::Rejected => ("rejected", Err(Code::RefreshRejected)),
    };
    metrics::counter!(names::REFRESHES, "outcome" => label).increment(1);
    // A rejection leaves the cookies alone: another tab may just have signed in.
    let credentials = answer?;
    let body = Refreshed {
        session: credentials.session,
    };
    Ok((credentials.cookies, Json(body)).into_response())
}

async fn rotate(app: &App, token: &RefreshToken) -> Result<Rotation, Problem> {
    let mut transaction = app.pool.begin().await?;
    let rotation = super::rotate(&mut transaction, &app.outbox, &app.keys, token)
        .await
        .map_err(super::problem)?;
    if planted::bug(Bug::PoolLeak) && matches!(rotation, Rotation::Rejected) {
        std::mem::forget(transaction);
        return Ok(rotation);
    }
    transaction.commit().await?;
    if let Rotation::Reused(holder) = &rotation {
        crate::background::note_ended(app, holder.session_id);
    }
    Ok(rotation)
}
