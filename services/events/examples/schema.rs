//! Prints one JSON schema of everything that crosses a socket or the broker,
//! with the limits and close codes that a client has to know. Its output is
//! committed as `services/events/schema.json`.

use std::io::Write as _;

use chat_events::{ClientFrame, Code, Envelope, NotificationFrame, ServerFrame, close, limits};
use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &schema())?;
    writeln!(out)
}

fn schema() -> Value {
    let mut generator = SchemaGenerator::default();
    generator.subschema_for::<ClientFrame>();
    generator.subschema_for::<ServerFrame>();
    generator.subschema_for::<NotificationFrame>();
    generator.subschema_for::<Envelope>();
    generator.subschema_for::<Code>();
    let mut definitions: Map<String, Value> =
        generator.take_definitions(true).into_iter().collect();
    definitions.insert("Limits".to_owned(), constants(&limits()));
    definitions.insert("Close".to_owned(), constants(&closes()));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ChatCluster events",
        "description": "Socket frames, broker envelopes, limits, close codes and error codes.",
        "$defs": definitions,
    })
}

/// An object whose properties have one possible value each.
fn constants(values: &[(&str, u64)]) -> Value {
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    let properties: Map<String, Value> = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!({ "const": value })))
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": false,
    })
}

fn limits() -> Vec<(&'static str, u64)> {
    vec![
        ("content_chars", limits::CONTENT_CHARS as u64),
        ("frame_bytes", limits::FRAME as u64),
        ("frames_per_window", limits::FRAMES_PER_WINDOW.into()),
        ("frame_window_seconds", limits::FRAME_WINDOW.as_secs()),
        ("typing_interval_seconds", limits::TYPING_INTERVAL.as_secs()),
        ("heartbeat_seconds", limits::HEARTBEAT.as_secs()),
        ("page_max", limits::PAGE_MAX.into()),
        ("users_page", limits::USERS_PAGE.into()),
        ("messages_page", limits::MESSAGES_PAGE.into()),
        ("conversations_page", limits::CONVERSATIONS_PAGE.into()),
        ("notices_page", limits::NOTICES_PAGE.into()),
        ("resume_page", limits::RESUME_PAGE.into()),
        ("username_chars_min", *limits::USERNAME_CHARS.start() as u64),
        ("username_chars_max", *limits::USERNAME_CHARS.end() as u64),
        (
            "display_name_chars_max",
            *limits::DISPLAY_NAME_CHARS.end() as u64,
        ),
        ("password_chars_min", *limits::PASSWORD_CHARS.start() as u64),
        ("password_chars_max", *limits::PASSWORD_CHARS.end() as u64),
        ("email_chars", limits::EMAIL_CHARS as u64),
    ]
}

fn closes() -> Vec<(&'static str, u64)> {
    vec![
        ("going_away", close::GOING_AWAY.into()),
        ("policy", close::POLICY.into()),
        ("too_big", close::TOO_BIG.into()),
        ("expired", close::EXPIRED.into()),
        ("revoked", close::REVOKED.into()),
        ("slow_reader", close::SLOW_READER.into()),
        ("fan_out_lost", close::FAN_OUT_LOST.into()),
    ]
}
