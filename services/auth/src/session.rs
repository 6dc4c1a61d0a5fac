//! A session: begun by signing in, kept by refresh tokens, ended by signing
//! out, by another password, by a stolen refresh token, or because there are too
//! many.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chat_events::{Event, SessionId, SessionRevoked, UserId, limits};
use chat_kit::Problem;
use chat_kit::outbox::Outbox;
use chat_kit::planted::{self, Bug};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::PgConnection;

use crate::keys::{Holder, Keys, REVOKED_FOR};

mod issue;
pub mod refresh;
pub mod revocations;
pub mod sign_in;
pub mod sign_out;

pub use issue::{Account, Credentials, SessionInfo, SignedIn, User};

/// Sessions of one account at the same time; the oldest ends.
const SESSIONS: i64 = 20;
/// In this time a repeated refresh gets the same answer again.
const REPEAT: f64 = 10.0;

/// 256 bits that say nothing. Only its hash is stored.
pub struct RefreshToken(Vec<u8>);

impl RefreshToken {
    fn generate() -> anyhow::Result<Self> {
        let mut bytes = vec![0; 32];
        rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then_some(Self(bytes))
    }

    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }

    fn hash(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, &self.0).as_ref().to_vec()
    }
}

pub struct Started {
    pub session_id: SessionId,
    pub refresh: RefreshToken,
    pub expires_at: Timestamp,
}

/// Begins a session of an account whose row the caller has locked.
pub async fn start(
    transaction: &mut PgConnection,
    outbox: &Outbox,
    user_id: UserId,
) -> anyhow::Result<Started> {
    let session_id = SessionId::generate();
    let refresh = RefreshToken::generate()?;
    let expires_at: jiff_sqlx::Timestamp = sqlx::query_scalar(
        "insert into sessions (id, account_id, expires_at)
         values ($1, $2, clock_timestamp() + make_interval(secs => $3)) returning expires_at",
    )
    .bind(session_id.0)
    .bind(user_id.0)
    .bind(limits::REFRESH_ABSOLUTE.as_secs_f64())
    .fetch_one(&mut *transaction)
    .await?;
    sqlx::query("insert into refresh_tokens (hash, session_id) values ($1, $2)")
        .bind(refresh.hash())
        .bind(session_id.0)
        .execute(&mut *transaction)
        .await?;
    let too_many: Vec<uuid::Uuid> = sqlx::query_scalar(
        "select id from sessions where account_id = $1 and ended_at is null
         order by created_at desc, id desc offset $2",
    )
    .bind(user_id.0)
    .bind(SESSIONS)
    .fetch_all(&mut *transaction)
    .await?;
    for session in too_many {
        end(transaction, outbox, user_id, session.into()).await?;
    }
    let event = Event::UserLoggedIn {
        user_id,
        session_id,
    };
    outbox.put(transaction, event).await?;
    Ok(Started {
        session_id,
        refresh,
        expires_at: expires_at.to_jiff(),
    })
}

/// Ends a session and tells everybody. False when it had ended before.
pub async fn end(
    transaction: &mut PgConnection,
    outbox: &Outbox,
    user_id: UserId,
    session_id: SessionId,
) -> sqlx::Result<bool> {
    let ended = sqlx::query(
        "update sessions set ended_at = clock_timestamp() where id = $1 and ended_at is null",
    )
    .bind(session_id.0)
    .execute(&mut *transaction)
    .await?;
    if ended.rows_affected() == 0 {
        return Ok(false);
    }
    let revoked = SessionRevoked {
        user_id,
        session_id,
        until: Timestamp::now() + REVOKED_FOR,
    };
    outbox
        .put(transaction, Event::SessionRevoked(revoked))
        .await?;
    Ok(true)
}

/// Ends every session of an account whose row the caller has locked.
pub async fn end_all(
    transaction: &mut PgConnection,
    outbox: &Outbox,
    user_id: UserId,
) -> sqlx::Result<Vec<SessionId>> {
    let sessions: Vec<uuid::Uuid> =
        sqlx::query_scalar("select id from sessions where account_id = $1 and ended_at is null")
            .bind(user_id.0)
            .fetch_all(&mut *transaction)
            .await?;
    let mut ended = Vec::with_capacity(sessions.len());
    for session in sessions.into_iter().map(SessionId::from) {
        if end(transaction, outbox, user_id, session).await? {
            ended.push(session);
        }
    }
    Ok(ended)
}

/// What became of a refresh token.
pub enum Rotation {
    Renewed {
        holder: Holder,
        refresh: RefreshToken,
        expires_at: Timestamp,
    },
    /// Used before, and not just now: somebody else has it. The session has ended.
    Reused(Holder),
    /// Unknown, expired, or of a session that has ended.
    Rejected,
}

/// Uses up a refresh token for its successor. The caller commits, also when
/// the token was [`Rotation::Reused`].
pub async fn rotate(
    transaction: &mut PgConnection,
    outbox: &Outbox,
    keys: &Keys,
    token: &RefreshToken,
) -> anyhow::Result<Rotation> {
    let Some(session_id) = session_of(transaction, token).await? else {
        return Ok(Rotation::Rejected);
    };
    // From here on one rotation of the session at a time; what the next
    // statement reads was committed before.
    let session: Option<(uuid::Uuid, String, jiff_sqlx::Timestamp)> = sqlx::query_as(
        "select accounts.id, username, expires_at
         from sessions join accounts on accounts.id = account_id
         where sessions.id = $1 and ended_at is null and expires_at > clock_timestamp()
         for update of sessions",
    )
    .bind(session_id.0)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((user_id, username, expires_at)) = session else {
        return Ok(Rotation::Rejected);
    };
    let holder = Holder {
        user_id: user_id.into(),
        username,
        session_id,
    };
    let (fresh, successor, repeat): (bool, Option<Vec<u8>>, bool) = sqlx::query_as(
        "select token.created_at > clock_timestamp() - make_interval(secs => $2), token.successor,
             coalesce(token.used_at > clock_timestamp() - make_interval(secs => $3)
                 and next.used_at is null, false)
         from refresh_tokens as token
         left join refresh_tokens as next on next.hash = token.successor
         where token.hash = $1",
    )
    .bind(token.hash())
    .bind(limits::REFRESH_IDLE.as_secs_f64())
    .bind(REPEAT)
    .fetch_one(&mut *transaction)
    .await?;
    let expires_at = expires_at.to_jiff();
    let refresh = match successor {
        None if !fresh => return Ok(Rotation::Rejected),
        None => {
            let next = RefreshToken(keys.current.successor(&token.0));
            use_up(transaction, session_id, token, &next).await?;
            next
        }
        Some(_) if planted::bug(Bug::RefreshBranch) => {
            let next = RefreshToken::generate()?;
            use_up(transaction, session_id, token, &next).await?;
            next
        }
        Some(successor) => {
            // The answer was lost, or two tabs asked at once: the same again.
            let again = keys
                .all()
                .map(|key| RefreshToken(key.successor(&token.0)))
                .find(|next| next.hash() == successor);
            match again.filter(|_| repeat) {
                Some(next) => next,
                None => {
                    end(transaction, outbox, holder.user_id, session_id).await?;
                    return Ok(Rotation::Reused(holder));
                }
            }
        }
    };
    Ok(Rotation::Renewed {
        holder,
        refresh,
        expires_at,
    })
}

/// Whose refresh token it is or was.
pub async fn session_of(
    transaction: &mut PgConnection,
    token: &RefreshToken,
) -> sqlx::Result<Option<SessionId>> {
    let session: Option<uuid::Uuid> =
        sqlx::query_scalar("select session_id from refresh_tokens where hash = $1")
            .bind(token.hash())
            .fetch_optional(transaction)
            .await?;
    Ok(session.map(SessionId::from))
}

async fn use_up(
    transaction: &mut PgConnection,
    session_id: SessionId,
    token: &RefreshToken,
    next: &RefreshToken,
) -> sqlx::Result<()> {
    sqlx::query(
        "update refresh_tokens set used_at = clock_timestamp(), successor = $2 where hash = $1",
    )
    .bind(token.hash())
    .bind(next.hash())
    .execute(&mut *transaction)
    .await?;
    sqlx::query("insert into refresh_tokens (hash, session_id) values ($1, $2)")
        .bind(next.hash())
        .bind(session_id.0)
        .execute(transaction)
        .await?;
    Ok(())
}

/// The fault behind a failed statement, or one of ours.
pub fn problem(error: anyhow::Error) -> Problem {
    match error.downcast::<sqlx::Error>() {
        Ok(error) => error.into(),
        Err(error) => Problem::internal(error),
    }
}

/// Removes sessions that nobody can use any more, and that no token speaks of.
pub async fn sweep(pool: &sqlx::PgPool) -> sqlx::Result<()> {
    let before = (Timestamp::now() - std::time::Duration::from_secs(86_400)).to_sqlx();
    sqlx::query("delete from sessions where ended_at < $1 or expires_at < $1")
        .bind(before)
        .execute(pool)
        .await?;
    Ok(())
}
