//! Hostile frames, as far as one can tell without a server.

use chat_e2e::fuzz::{fuzz, must};
use chat_events::{ClientFrame, Code, ServerFrame, limits, text};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::{Value, json};
use uuid::Uuid;

use super::read;
use crate::frame;

fn valid() -> impl Strategy<Value = Vec<u8>> {
    let id = || any::<u128>().prop_map(|number| json!(Uuid::from_u128(number)));
    let content = prop_oneof!["[a-z]{1,20}", ".{0,60}", Just("é".repeat(4_000))];
    let create = (id(), content).prop_map(|(conversation, content)| {
        json!({
            "type": "message.create", "client_id": Uuid::now_v7(),
            "conversation_id": conversation, "content": content,
        })
    });
    let numbered = |kind: &'static str, number: &'static str| {
        (id(), 0..1_000_i64).prop_map(move |(conversation, value)| {
            json!({ "type": kind, "conversation_id": conversation, (number): value })
        })
    };
    let typing = (id(), any::<bool>()).prop_map(|(conversation, active)| {
        json!({ "type": "typing", "conversation_id": conversation, "active": active })
    });
    prop_oneof![
        create,
        numbered("message.read", "up_to"),
        numbered("resume", "after"),
        typing,
    ]
    .prop_map(|frame: Value| frame.to_string().into_bytes())
}

#[test]
fn a_hostile_frame_is_refused_with_a_code_or_keeps_every_limit() {
    fuzz("frames", valid(), |bytes| {
        // Anything else does not get past the WebSocket.
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Ok(());
        };
        match read(text) {
            Ok(frame) => is_sound(&frame),
            Err(answer) => is_refusal(&answer, text),
        }
    });
}

fn is_sound(frame: &ClientFrame) -> TestCaseResult {
    let keeps = match frame {
        ClientFrame::MessageCreate {
            client_id, content, ..
        } => {
            client_id.0.get_version_num() == 7
                && content.chars().count() <= limits::CONTENT_CHARS
                && text::is_message(content)
                && !text::is_blank(content)
        }
        ClientFrame::MessageRead { up_to, .. } => *up_to >= 1,
        ClientFrame::Resume { after, .. } => *after >= 0,
        ClientFrame::Typing { .. } => true,
    };
    must(keeps, || format!("accepted {frame:?}"))?;
    let again = serde_json::to_string(frame).expect("JSON");
    must(read(&again).is_ok_and(|read| read == *frame), || {
        format!("{again} is read as something else")
    })
}

fn is_refusal(answer: &ServerFrame, text: &str) -> TestCaseResult {
    let documented = matches!(
        answer,
        ServerFrame::Error {
            code: Code::InvalidFrame,
            client_id: None,
            ..
        } | ServerFrame::Refused {
            code: Code::Invalid,
            ..
        }
    );
    must(documented, || format!("answered with {answer:?}"))?;
    let chat_kit::socket::Item::Frame(_, sent) = frame::item(answer) else {
        return must(false, || format!("{answer:?} is no frame"));
    };
    // The answer may name what is wrong, and control characters grow sixfold in JSON.
    must(sent.as_str().len() <= 6 * text.len() + 1_024, || {
        format!("{} bytes for {}", sent.as_str().len(), text.len())
    })
}
