//! One row per documented route: how to ask it for the victims' data, and what
//! a stranger is to get.

use serde_json::{Value, json};

use super::victims::Victims;

pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// Nobody without a session gets anything but 401.
    pub private: bool,
    pub upgrade: bool,
    /// The answer belongs to the asker's own session and may set its cookies.
    pub sets_cookies: bool,
    pub stranger: Stranger,
    /// Path with query, and body.
    pub ask: fn(&Victims) -> (String, Value),
}

pub enum Stranger {
    Gets(u16),
    /// A good answer with nothing of the victims in it.
    SeesOwn,
}

impl Route {
    /// Asking it ends the asker's own session.
    pub fn ends_session(&self) -> bool {
        self.path == "/api/auth/signout"
    }
}

const fn private(
    method: &'static str,
    path: &'static str,
    stranger: Stranger,
    ask: fn(&Victims) -> (String, Value),
) -> Route {
    Route {
        method,
        path,
        private: true,
        upgrade: false,
        sets_cookies: false,
        stranger,
        ask,
    }
}

const fn public(
    method: &'static str,
    path: &'static str,
    stranger: Stranger,
    ask: fn(&Victims) -> (String, Value),
) -> Route {
    Route {
        private: false,
        sets_cookies: true,
        ..private(method, path, stranger, ask)
    }
}

const fn socket(
    path: &'static str,
    private: bool,
    stranger: Stranger,
    ask: fn(&Victims) -> (String, Value),
) -> Route {
    Route {
        method: "GET",
        path,
        private,
        upgrade: true,
        sets_cookies: false,
        stranger,
        ask,
    }
}

use Stranger::{Gets, SeesOwn};

pub const ROUTES: &[Route] = &[
    public("POST", "/api/auth/signup", Gets(409), |victims| {
        let body = json!({
            "email": format!("other_{}", victims.ada.email),
            "password": "a long enough secret",
            "username": victims.ada.username,
        });
        ("/api/auth/signup".into(), body)
    }),
    public("POST", "/api/auth/signin", Gets(401), |victims| {
        let body = json!({ "email": victims.ada.email, "password": "a guess of the secret" });
        ("/api/auth/signin".into(), body)
    }),
    public("POST", "/api/auth/signout", Gets(204), |_| {
        ("/api/auth/signout".into(), json!({}))
    }),
    public("POST", "/api/auth/refresh", SeesOwn, |_| {
        ("/api/auth/refresh".into(), json!({}))
    }),
    private("POST", "/api/auth/password", Gets(400), |victims| {
        // The stranger's own account: there is no other to name.
        let body = json!({
            "current_password": victims.ada.password,
            "new_password": "a long enough secret of the stranger",
        });
        ("/api/auth/password".into(), body)
    }),
    private("GET", "/api/auth/currentuser", SeesOwn, |_| {
        ("/api/auth/currentuser".into(), Value::Null)
    }),
    public("GET", "/api/auth/jwks", SeesOwn, |_| {
        ("/api/auth/jwks".into(), Value::Null)
    }),
    private("GET", "/api/users", SeesOwn, |victims| {
        (
            format!("/api/users?q={}", victims.ada.username),
            Value::Null,
        )
    }),
    private("GET", "/api/users/{id}", SeesOwn, |victims| {
        (format!("/api/users/{}", victims.ada.id), Value::Null)
    }),
    private("PATCH", "/api/users/me", SeesOwn, |_| {
        ("/api/users/me".into(), json!({ "display_name": "Eve" }))
    }),
    private("GET", "/api/conversations", SeesOwn, |_| {
        ("/api/conversations".into(), Value::Null)
    }),
    private("POST", "/api/conversations", SeesOwn, |victims| {
        (
            "/api/conversations".into(),
            json!({ "user_id": victims.ada.id }),
        )
    }),
    private("GET", "/api/conversations/positions", SeesOwn, |_| {
        ("/api/conversations/positions".into(), Value::Null)
    }),
    private("GET", "/api/conversations/{id}", Gets(404), |victims| {
        (
            format!("/api/conversations/{}", victims.conversation),
            Value::Null,
        )
    }),
    private("GET", "/api/messages", Gets(404), |victims| {
        (
            format!("/api/messages?conversation={}", victims.conversation),
            Value::Null,
        )
    }),
    private("GET", "/api/messages/events", Gets(404), |victims| {
        let path = format!(
            "/api/messages/events?conversation={}&after=0",
            victims.conversation
        );
        (path, Value::Null)
    }),
    private("GET", "/api/notifications", SeesOwn, |_| {
        ("/api/notifications".into(), Value::Null)
    }),
    private("POST", "/api/notifications/read", Gets(403), |victims| {
        (
            "/api/notifications/read".into(),
            json!({ "ids": [victims.notice] }),
        )
    }),
    private("DELETE", "/api/notifications/{id}", Gets(403), |victims| {
        (
            format!("/api/notifications/{}", victims.notice),
            Value::Null,
        )
    }),
    private(
        "GET",
        "/ws/notifications/{username}",
        Gets(403),
        |victims| {
            (
                format!("/ws/notifications/{}", victims.ben.username),
                Value::Null,
            )
        },
    ),
    private(
        "DELETE",
        "/ws/notifications/{username}",
        Gets(403),
        |victims| {
            (
                format!("/ws/notifications/{}", victims.ben.username),
                json!({ "notifs": [{ "ID": victims.notice }] }),
            )
        },
    ),
    socket("/ws/notifications/join", false, Gets(101), |_| {
        ("/ws/notifications/join".into(), Value::Null)
    }),
    socket("/ws/chat", true, Gets(101), |_| {
        ("/ws/chat".into(), Value::Null)
    }),
    private("POST", "/ws/chat/createRoom", SeesOwn, |victims| {
        (
            "/ws/chat/createRoom".into(),
            json!({ "name": victims.ada.username }),
        )
    }),
    private("POST", "/ws/chat/joinRoom/{id}", Gets(404), |victims| {
        (
            format!("/ws/chat/joinRoom/{}", victims.conversation),
            Value::Null,
        )
    }),
    socket("/ws/chat/joinRoom/{id}", true, Gets(404), |victims| {
        (
            format!("/ws/chat/joinRoom/{}", victims.conversation),
            Value::Null,
        )
    }),
];
