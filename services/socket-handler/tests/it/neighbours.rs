//! What auth, users and messages answer in these tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chat_events::{ConversationId, LogEvent, SessionId, UserId};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use uuid::Uuid;

/// Someone with a session.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: UserId,
    pub session: SessionId,
    pub name: String,
}

#[derive(Clone)]
pub struct Conversation {
    pub members: Vec<UserId>,
    pub log: Vec<LogEvent>,
}

#[derive(Default)]
pub struct Known {
    pub people: HashMap<UserId, String>,
    pub conversations: HashMap<ConversationId, Conversation>,
    pub revoked: Vec<SessionId>,
    pub messages_away: bool,
}

pub struct Neighbours {
    pub url: String,
    cluster: String,
    key: Vec<u8>,
    public: String,
    known: Mutex<Known>,
}

impl Neighbours {
    pub async fn start(cluster: &str) -> anyhow::Result<Arc<Self>> {
        let pair = Ed25519KeyPair::generate()?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let neighbours = Arc::new(Self {
            url: format!("http://{}", listener.local_addr()?),
            cluster: cluster.to_owned(),
            key: pair.to_pkcs8v1()?.as_ref().to_vec(),
            public: BASE64_URL_SAFE_NO_PAD.encode(pair.public_key()),
            known: Mutex::default(),
        });
        let messages = Router::new()
            .route("/api/conversations/positions", get(positions))
            .route("/api/conversations/{id}", get(conversation))
            .route("/api/conversations", axum::routing::post(open))
            .route("/api/messages/events", get(events))
            .layer(middleware::from_fn_with_state(neighbours.clone(), away));
        let router = Router::new()
            .route("/api/auth/jwks", get(jwks))
            .route("/internal/revocations", get(revocations))
            .route("/api/users", get(users))
            .merge(messages)
            .with_state(neighbours.clone());
        // Ends with the runtime of the test.
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(neighbours)
    }

    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn person(&self, name: &str) -> Person {
        let id = UserId::generate();
        self.known().people.insert(id, name.to_owned());
        Person {
            id,
            session: SessionId::generate(),
            name: name.to_owned(),
        }
    }

    pub fn conversation(&self, members: &[&Person]) -> ConversationId {
        let id = ConversationId::generate();
        let conversation = Conversation {
            members: members.iter().map(|person| person.id).collect(),
            log: Vec::new(),
        };
        self.known().conversations.insert(id, conversation);
        id
    }

    /// Claims that auth would sign.
    pub fn claims(&self, person: &Person) -> Value {
        let now = Timestamp::now().as_second();
        json!({
            "iss": format!("chatcluster/{}", self.cluster),
            "aud": self.cluster,
            "sub": person.id,
            "username": person.name,
            "sid": person.session,
            "jti": Uuid::new_v4(),
            "iat": now,
            "nbf": now,
            "exp": now + 600,
        })
    }

    pub fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        sign_with(&self.key, claims)
    }

    pub fn token(&self, person: &Person) -> anyhow::Result<String> {
        self.sign(&self.claims(person))
    }

    /// The claims of the bearer token: whose question it is.
    fn caller(&self, headers: &HeaderMap) -> Option<UserId> {
        let token = headers
            .get("authorization")?
            .to_str()
            .ok()?
            .strip_prefix("Bearer ")?;
        let claims = BASE64_URL_SAFE_NO_PAD
            .decode(token.split('.').nth(1)?)
            .ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        let session = serde_json::from_value(claims["sid"].clone()).ok()?;
        if self.known().revoked.contains(&session) {
            return None;
        }
        serde_json::from_value(claims["sub"].clone()).ok()
    }
}

/// A token with the right claims and the key of somebody else.
pub fn forge(claims: &Value) -> anyhow::Result<String> {
    sign_with(Ed25519KeyPair::generate()?.to_pkcs8v1()?.as_ref(), claims)
}

fn sign_with(key: &[u8], claims: &Value) -> anyhow::Result<String> {
    let header = Header {
        typ: Some("at+jwt".into()),
        kid: Some("test".into()),
        ..Header::new(Algorithm::EdDSA)
    };
    encode(&header, claims, &EncodingKey::from_ed_der(key)).context("sign")
}

async fn away(State(all): State<Arc<Neighbours>>, request: Request, next: Next) -> Response {
    if all.known().messages_away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    next.run(request).await
}

async fn jwks(State(all): State<Arc<Neighbours>>) -> Json<Value> {
    Json(json!({ "keys": [{
        "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "test", "x": all.public,
    }]}))
}

async fn revocations(State(all): State<Arc<Neighbours>>) -> Json<Value> {
    let until = Timestamp::now() + SignedDuration::from_mins(15);
    let revoked: Vec<Value> = all
        .known()
        .revoked
        .iter()
        .map(|session| json!({ "session_id": session, "until": until }))
        .collect();
    Json(json!({ "revoked": revoked }))
}

async fn users(
    State(all): State<Arc<Neighbours>>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let wanted = query.get("username").cloned().unwrap_or_default();
    let users: Vec<_> = all
        .known()
        .people
        .iter()
        .filter(|(_, name)| **name == wanted)
        .map(|(id, name)| json!({ "id": id, "username": name, "display_name": name }))
        .collect();
    Json(json!({ "users": users, "next_cursor": null }))
}

async fn positions(State(all): State<Arc<Neighbours>>, headers: HeaderMap) -> Response {
    let Some(caller) = all.caller(&headers) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let positions: Vec<Value> = all
        .known()
        .conversations
        .iter()
        .filter(|(_, one)| one.members.contains(&caller))
        .map(|(id, one)| {
            json!({ "conversation_id": id, "seq": one.log.len(), "members": one.members })
        })
        .collect();
    Json(json!({ "epoch": "test", "positions": positions })).into_response()
}

async fn conversation(
    State(all): State<Arc<Neighbours>>,
    headers: HeaderMap,
    Path(id): Path<ConversationId>,
) -> Response {
    let caller = all.caller(&headers);
    let known = all.known();
    match (caller, known.conversations.get(&id)) {
        (Some(caller), Some(one)) if one.members.contains(&caller) => {
            Json(shown(&known, id, one)).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn open(
    State(all): State<Arc<Neighbours>>,
    headers: HeaderMap,
    Json(body): Json<HashMap<String, UserId>>,
) -> Response {
    let (Some(caller), Some(peer)) = (all.caller(&headers), body.get("user_id")) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let mut known = all.known();
    if headers.get("origin").is_none() {
        return StatusCode::FORBIDDEN.into_response();
    }
    if !known.people.contains_key(peer) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let pair = |one: &Conversation| one.members.contains(&caller) && one.members.contains(peer);
    let id = known
        .conversations
        .iter()
        .find(|(_, one)| pair(one))
        .map(|(id, _)| *id);
    let id = id.unwrap_or_else(|| {
        let id = ConversationId::generate();
        let members = vec![caller, *peer];
        known.conversations.insert(
            id,
            Conversation {
                members,
                log: Vec::new(),
            },
        );
        id
    });
    Json(shown(&known, id, &known.conversations[&id])).into_response()
}

fn shown(known: &Known, id: ConversationId, one: &Conversation) -> Value {
    let members: Vec<Value> = one
        .members
        .iter()
        .map(|user| json!({ "user_id": user, "username": known.people[user], "display_name": "" }))
        .collect();
    json!({ "id": id, "members": members, "seq": one.log.len(), "unread": 0 })
}

async fn events(
    State(all): State<Arc<Neighbours>>,
    headers: HeaderMap,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let id = query.get("conversation").and_then(|id| id.parse().ok());
    let after = query
        .get("after")
        .and_then(|after| after.parse::<usize>().ok());
    let (Some(caller), Some(id), Some(after)) = (all.caller(&headers), id, after) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let known = all.known();
    match known.conversations.get(&id) {
        Some(one) if one.members.contains(&caller) => {
            let events: Vec<&LogEvent> = one.log.iter().skip(after).collect();
            Json(json!({ "events": events, "complete": true, "seq": one.log.len() }))
                .into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
