//! POST /api/auth/signin: a new session for whoever knows the password.

use std::net::IpAddr;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chat_events::{Code, UserId, limits, text};
use chat_kit::extract::{ClientAddress, Json};
use chat_kit::{Problem, ProblemBody, metrics as names};
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Credentials, SignedIn, User};
use crate::keys::Holder;
use crate::name::Email;
use crate::state::App;
use crate::throttle::{self, Kind};
use crate::{audit, password};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    #[schema(format = "email")]
    email: String,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// Sign in
#[utoipa::path(
    post,
    path = "/api/auth/signin",
    tag = "sessions",
    responses(
        (status = 200, description = "A new session; both cookies are set", body = SignedIn),
        (status = 400, description = "`invalid_json`, or `invalid` with the fields", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "`wrong_credentials`: the same for an unknown e-mail and a wrong password", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`cross_site`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "`throttled`; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn sign_in(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Json(input): Json<SignIn>,
) -> Result<Response, Problem> {
    let outcome = enter(&app, address, input).await;
    let label = match &outcome {
        Ok(_) => "done",
        Err(problem) => match problem.code {
            Code::WrongCredentials => "wrong",
            Code::Throttled => "throttled",
            Code::Unavailable => "unavailable",
            Code::Invalid => "invalid",
            _ => "failed",
        },
    };
    metrics::counter!(names::SIGN_INS, "outcome" => label).increment(1);
    let (user, credentials) = outcome?;
    audit::signed_in(user.id, credentials.session.id, address);
    let body = SignedIn {
        user,
        session: credentials.session,
    };
    Ok((credentials.cookies, axum::Json(body)).into_response())
}

async fn enter(app: &App, address: IpAddr, input: SignIn) -> Result<(User, Credentials), Problem> {
    check(&input)?;
    // What is no address belongs to nobody, and goes the same way.
    let email = Email::parse(&input.email).map_or_else(
        |_| input.email.trim().to_owned(),
        |email| email.as_str().to_owned(),
    );
    if let Err(problem) =
        throttle::admit_address(&app.pool, Kind::SignIn, address, app.signin_per_minute).await
    {
        audit::sign_in_failed(None, "too many tries from this address", address);
        return Err(problem);
    }
    let place = app.hasher.place()?;
    let subject = app.keys.subject(&email);
    if let Err(problem) = throttle::admit_account(&app.pool, &subject).await {
        audit::sign_in_failed(None, "too many tries on this account", address);
        return Err(problem);
    }
    let account: Option<(Uuid, String)> =
        sqlx::query_as("select id, password from accounts where lower(email) = lower($1)")
            .bind(&email)
            .fetch_optional(&app.pool)
            .await?;
    let (id, stored) = account.unzip();
    let verdict = place.verify(input.password, stored.clone()).await?;
    let known = id.map(UserId::from);
    let Some((user_id, stored)) = known.zip(stored).filter(|_| verdict.right) else {
        audit::sign_in_failed(known, "wrong credentials", address);
        return Err(Code::WrongCredentials.into());
    };
    open(app, user_id, &stored, verdict.renewed, &subject).await
}

/// Too long to be anybody's: refused before it costs anything.
fn check(input: &SignIn) -> Result<(), Problem> {
    let mut problem = Problem::from(Code::Invalid);
    if input.email.chars().count() > limits::EMAIL_CHARS || !text::is_line(input.email.trim()) {
        problem = problem.and("email", crate::name::EMAIL_MESSAGE);
    }
    if !password::can_be(&input.password) {
        problem = problem.and("password", password::IMPOSSIBLE);
    }
    if problem.errors.is_empty() {
        Ok(())
    } else {
        Err(problem)
    }
}

async fn open(
    app: &App,
    user_id: UserId,
    stored: &str,
    renewed: Option<String>,
    subject: &[u8],
) -> Result<(User, Credentials), Problem> {
    let mut transaction = app.pool.begin().await?;
    // Locked: two sign-ins at once must count each other's session. Only while
    // the password is still the one that was compared.
    let row: Option<(String, String)> = sqlx::query_as(
        "update accounts set password = coalesce($3, password) where id = $1 and password = $2
         returning username, display_name",
    )
    .bind(user_id.0)
    .bind(stored)
    .bind(renewed)
    .fetch_optional(&mut *transaction)
    .await?;
    let (username, display_name) = row.ok_or(Code::WrongCredentials)?;
    throttle::forgive(&mut transaction, subject).await?;
    let started = super::start(&mut transaction, &app.outbox, user_id)
        .await
        .map_err(super::problem)?;
    transaction.commit().await?;
    app.outbox.wake();
    let holder = Holder {
        user_id,
        username: username.clone(),
        session_id: started.session_id,
    };
    let credentials = Credentials::issue(app, &holder, &started.refresh, started.expires_at)
        .map_err(Problem::internal)?;
    let user = User {
        id: user_id,
        username,
        display_name,
    };
    Ok((user, credentials))
}
