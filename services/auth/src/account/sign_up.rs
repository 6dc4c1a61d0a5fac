//! POST /api/auth/signup: a new account, signed in.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chat_events::{Code, Event, UserId, UserRef};
use chat_kit::extract::{ClientAddress, Json};
use chat_kit::{Problem, ProblemBody, metrics as names, pg};
use secrecy::SecretString;
use serde::Deserialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use crate::audit;
use crate::keys::Holder;
use crate::name::{Email, Username};
use crate::session::{self, Credentials, SignedIn, User};
use crate::state::App;
use crate::throttle::{self, Kind};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    #[schema(format = "email", max_length = 254)]
    email: String,
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    password: SecretString,
    /// Letters a to z, digits, dots, hyphens, underscores; capitals do not count.
    #[schema(min_length = 3, max_length = 32)]
    username: String,
}

/// Sign up, and be signed in
#[utoipa::path(
    post,
    path = "/api/auth/signup",
    tag = "accounts",
    responses(
        (status = 201, description = "The account exists and is signed in; both cookies are set", body = SignedIn),
        (status = 400, description = "`invalid_json`, or `invalid` with the fields", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`cross_site`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`taken` with the fields", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "`throttled`; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn sign_up(
    State(app): State<App>,
    ClientAddress(address): ClientAddress,
    Json(input): Json<SignUp>,
) -> Result<Response, Problem> {
    let outcome = async {
        let (email, username, password) = check(&app, input).await?;
        throttle::admit_address(&app.pool, Kind::SignUp, address, app.signin_per_minute).await?;
        // Hashed before it is known whether the names are free: the time says nothing.
        let hash = app.hasher.place()?.hash(password).await?;
        insert(&app, &email, &username, &hash).await
    }
    .await;
    let label = match &outcome {
        Ok(_) => "done",
        Err(problem) => outcome_of(problem.code),
    };
    metrics::counter!(names::SIGN_UPS, "outcome" => label).increment(1);
    let (user, credentials) = outcome?;
    audit::signed_up(user.id, credentials.session.id, address);
    let body = SignedIn {
        user,
        session: credentials.session,
    };
    Ok((StatusCode::CREATED, credentials.cookies, axum::Json(body)).into_response())
}

/// Every field at once, so that people correct them at once.
async fn check(app: &App, input: SignUp) -> Result<(Email, Username, SecretString), Problem> {
    let mut problem = Problem::from(Code::Invalid);
    let mut note = |field: &str, message: &str| {
        problem.errors.push(chat_kit::FieldError {
            field: field.to_owned(),
            message: message.to_owned(),
        })
    };
    let email = Email::parse(&input.email).map_err(|message| note("email", message));
    let username = Username::parse(&input.username).map_err(|message| note("username", message));
    let (own_email, own_name) = (email.clone().ok(), username.clone().ok());
    let password = app
        .passwords
        .judge(input.password.clone(), own_email, own_name)
        .await?
        .map_err(|message| note("password", &message));
    match (email, username, password) {
        (Ok(email), Ok(username), Ok(())) => Ok((email, username, input.password)),
        _ => Err(problem),
    }
}

/// Account, session and events in one transaction.
async fn insert(
    app: &App,
    email: &Email,
    username: &Username,
    hash: &str,
) -> Result<(User, Credentials), Problem> {
    let id = UserId::generate();
    let mut transaction = app.pool.begin().await?;
    let inserted = sqlx::query(
        "insert into accounts (id, email, username, display_name, password)
         values ($1, $2, $3, $3, $4)",
    )
    .bind(id.0)
    .bind(email.as_str())
    .bind(username.as_str())
    .bind(hash)
    .execute(&mut *transaction)
    .await;
    if let Err(error) = inserted {
        drop(transaction);
        let taken = ["accounts_email_key", "accounts_skeleton_key"];
        if taken.iter().any(|name| pg::violates(&error, name)) {
            return Err(taken_fields(&app.pool, email, username).await?);
        }
        return Err(error.into());
    }
    let user = User {
        id,
        username: username.as_str().to_owned(),
        display_name: username.as_str().to_owned(),
    };
    let registered = UserRef {
        user_id: id,
        username: user.username.clone(),
        display_name: user.display_name.clone(),
        version: 1,
    };
    app.outbox
        .put(&mut transaction, Event::UserRegistered(registered))
        .await?;
    let started = session::start(&mut transaction, &app.outbox, id)
        .await
        .map_err(session::problem)?;
    transaction.commit().await?;
    app.outbox.wake();
    let holder = Holder {
        user_id: id,
        username: user.username.clone(),
        session_id: started.session_id,
    };
    let credentials = Credentials::issue(app, &holder, &started.refresh, started.expires_at)
        .map_err(Problem::internal)?;
    Ok((user, credentials))
}

/// The database has said no; this says which fields are to blame.
async fn taken_fields(
    pool: &PgPool,
    email: &Email,
    username: &Username,
) -> Result<Problem, Problem> {
    let (email_taken, name_taken): (bool, bool) = sqlx::query_as(
        "select exists (select from accounts where lower(email) = lower($1)),
             exists (select from accounts
                 where skeleton = replace(translate($2, '01', 'ol'), 'rn', 'm'))",
    )
    .bind(email.as_str())
    .bind(username.as_str())
    .fetch_one(pool)
    .await?;
    let mut problem = Problem::new(Code::Taken, "This e-mail or name is already in use.");
    if email_taken {
        problem = problem.and(
            "email",
            "There is an account with this e-mail. Sign in instead.",
        );
    }
    if name_taken {
        problem = problem.and(
            "username",
            "This name, or one that looks like it, is already in use. Choose another.",
        );
    }
    Ok(problem)
}

const fn outcome_of(code: Code) -> &'static str {
    match code {
        Code::Invalid => "invalid",
        Code::Taken => "taken",
        Code::Throttled => "throttled",
        Code::Unavailable => "unavailable",
        _ => "failed",
    }
}
