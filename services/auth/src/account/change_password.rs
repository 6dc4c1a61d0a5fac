//! POST /api/auth/password: another password for whoever knows the one of today.
//! Every session ends, and the caller gets a new one: a stolen session does not
//! outlive the password that it came with.

use std::net::IpAddr;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chat_events::{Code, SessionId};
use chat_kit::extract::{ClientAddress, Json};
use chat_kit::identity::Authenticated;
use chat_kit::{Problem, ProblemBody};
use secrecy::SecretString;
use serde::Deserialize;
use sqlx::{FromRow, PgConnection};
use utoipa::ToSchema;

use crate::keys::Holder;
use crate::name::{Email, Username};
use crate::session::{self, Credentials, SignedIn, User};
use crate::state::App;
use crate::throttle::{self, Kind};
use crate::{audit, background, password};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    #[schema(value_type = String, format = Password)]
    current_password: SecretString,
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 128)]
    new_password: SecretString,
}

#[derive(FromRow)]
struct Account {
    username: String,
    display_name: String,
    email: String,
    password: String,
}

/// Change the password
///
/// Ends every session of the account, closes their sockets, and opens a new
/// session for the caller. Tries count as sign-ins.
#[utoipa::path(
    post,
    path = "/api/auth/password",
    tag = "accounts",
    responses(
        (status = 200, description = "The password is the new one. A new session; both cookies are set", body = SignedIn),
        (status = 400, description = "`invalid_json`, or `invalid` with the field: a wrong `current_password`, or a `new_password` that is not good enough", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "`cross_site`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "`too_large`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "`throttled`; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`; see Retry-After", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn change_password(
    State(app): State<App>,
    caller: Authenticated,
    ClientAddress(address): ClientAddress,
    Json(input): Json<ChangePassword>,
) -> Result<Response, Problem> {
    let account = find(&app, &caller).await?;
    check(&app, &account, &input).await?;
    let hash = prove(&app, &caller, &account, input, address).await?;
    let (credentials, ended) = replace(&app, &caller, &account, &hash).await?;
    audit::password_changed(caller.user_id(), credentials.session.id, address);
    for session_id in ended {
        background::note_ended(&app, session_id);
    }
    let body = SignedIn {
        user: User {
            id: caller.user_id(),
            username: account.username,
            display_name: account.display_name,
        },
        session: credentials.session,
    };
    Ok((credentials.cookies, axum::Json(body)).into_response())
}

/// Asked of the database, and not of the list of ended sessions: auth knows first.
async fn find(app: &App, caller: &Authenticated) -> Result<Account, Problem> {
    let account: Option<Account> = sqlx::query_as(
        "select username, display_name, email, password
         from accounts join sessions on account_id = accounts.id
         where accounts.id = $1 and sessions.id = $2 and ended_at is null",
    )
    .bind(caller.user_id().0)
    .bind(caller.session_id().0)
    .fetch_optional(&app.pool)
    .await?;
    account.ok_or_else(|| Code::Unauthenticated.into())
}

/// What costs no try.
async fn check(app: &App, account: &Account, input: &ChangePassword) -> Result<(), Problem> {
    if !password::can_be(&input.current_password) {
        return Err(Problem::invalid("current_password", password::IMPOSSIBLE));
    }
    let email = Email::parse(&account.email).ok();
    let username = Username::parse(&account.username).ok();
    let new = input.new_password.clone();
    app.passwords
        .judge(new, email, username)
        .await?
        .map_err(|message| Problem::invalid("new_password", message))
}

/// The hash of the new password, when the other one is right. Counted with the
/// sign-ins, so that a stolen session is no way to guess faster.
async fn prove(
    app: &App,
    caller: &Authenticated,
    account: &Account,
    input: ChangePassword,
    address: IpAddr,
) -> Result<String, Problem> {
    throttle::admit_address(&app.pool, Kind::SignIn, address, app.signin_per_minute).await?;
    let place = app.hasher.place()?;
    let subject = app.keys.subject(&account.email);
    throttle::admit_account(&app.pool, &subject).await?;
    let stored = account.password.clone();
    let hash = place
        .replace(input.current_password, stored, input.new_password)
        .await?;
    hash.ok_or_else(|| {
        audit::password_change_failed(caller.user_id(), caller.session_id(), address);
        wrong()
    })
}

/// Password, sessions and events in one transaction.
async fn replace(
    app: &App,
    caller: &Authenticated,
    account: &Account,
    hash: &str,
) -> Result<(Credentials, Vec<SessionId>), Problem> {
    let user_id = caller.user_id();
    let mut transaction = app.pool.begin().await?;
    // Locked: a sign-in with the old password comes before, and its session ends
    // here, or after, and fails. Only while nothing has changed since the look.
    let replaced = sqlx::query(
        "update accounts set password = $3 where id = $1 and password = $2
             and exists (select from sessions where id = $4 and ended_at is null)",
    )
    .bind(user_id.0)
    .bind(&account.password)
    .bind(hash)
    .bind(caller.session_id().0)
    .execute(&mut *transaction)
    .await?;
    if replaced.rows_affected() == 0 {
        return Err(overtaken(&mut transaction, caller).await?);
    }
    throttle::forgive(&mut transaction, &app.keys.subject(&account.email)).await?;
    let ended = session::end_all(&mut transaction, &app.outbox, user_id).await?;
    let started = session::start(&mut transaction, &app.outbox, user_id)
        .await
        .map_err(session::problem)?;
    transaction.commit().await?;
    app.outbox.wake();
    let holder = Holder {
        user_id,
        username: account.username.clone(),
        session_id: started.session_id,
    };
    let credentials = Credentials::issue(app, &holder, &started.refresh, started.expires_at)
        .map_err(Problem::internal)?;
    Ok((credentials, ended))
}

/// The session has ended, or a sign-in has hashed the same password anew: then it helps
/// to try again.
async fn overtaken(
    connection: &mut PgConnection,
    caller: &Authenticated,
) -> Result<Problem, sqlx::Error> {
    let ended = "select not exists (select from sessions where id = $1 and ended_at is null)";
    let ended = sqlx::query_scalar(ended).bind(caller.session_id().0);
    Ok(if ended.fetch_one(connection).await? {
        Code::Unauthenticated.into()
    } else {
        Problem::unavailable(anyhow::anyhow!("the password was hashed anew meanwhile"))
    })
}

fn wrong() -> Problem {
    Problem::invalid("current_password", "This is not your password.")
}
