//! The record of who came in, who did not, and which session was stolen: log
//! lines of the target `audit`. What was typed is never in them.

use std::net::IpAddr;

use chat_events::{SessionId, UserId};

pub fn signed_up(user: UserId, session: SessionId, address: IpAddr) {
    tracing::info!(target: "audit", { user.id = %user, session.id = %session, client.address = %address }, "signed up");
}

pub fn signed_in(user: UserId, session: SessionId, address: IpAddr) {
    tracing::info!(target: "audit", { user.id = %user, session.id = %session, client.address = %address }, "signed in");
}

/// `user` is none when there is no such account.
pub fn sign_in_failed(user: Option<UserId>, reason: &'static str, address: IpAddr) {
    let user = user.map(tracing::field::display);
    tracing::warn!(target: "audit", { user.id = user, reason, client.address = %address }, "sign-in failed");
}

pub fn signed_out(user: UserId, session: SessionId, address: IpAddr) {
    tracing::info!(target: "audit", { user.id = %user, session.id = %session, client.address = %address }, "signed out");
}

pub fn password_changed(user: UserId, session: SessionId, address: IpAddr) {
    tracing::info!(target: "audit", { user.id = %user, session.id = %session, client.address = %address }, "password changed; the other sessions have ended");
}

pub fn password_change_failed(user: UserId, session: SessionId, address: IpAddr) {
    tracing::warn!(target: "audit", { user.id = %user, session.id = %session, client.address = %address }, "password not changed: the current one was wrong");
}

pub fn refresh_reused(user: UserId, session: SessionId, address: IpAddr) {
    tracing::warn!(target: "audit", { user.id = %user, session.id = %session, client.address = %address }, "a used refresh token came again; the session has ended");
}
