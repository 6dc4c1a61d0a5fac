//! Starts the whole chat, runs a command with `CHAT_URL` in its environment,
//! and stops everything: `cargo run -p chat-e2e --example stack -- npm test`.
//!
//! `CHAT_HISTORY` names two accounts that have a conversation of 10,000 messages,
//! and `CHAT_RECORDED` the program beside this one that judges what browsers record.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chat_e2e::{Chat, ChatClient, Person};
use serde_json::{Value, json};
use tokio::process::Command;

const HISTORY: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().context("which command is to be run?")?;
    let chat = Chat::with_client().await?;
    let history = history(&chat).await?;
    let status = Command::new(program)
        .args(words)
        .env("CHAT_URL", &chat.site.url)
        .env("CHAT_HISTORY", history.to_string())
        .env(
            "CHAT_RECORDED",
            std::env::current_exe()?.with_file_name("recorded"),
        )
        .status()
        .await;
    chat.stop().await?;
    let code = status?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

async fn history(chat: &Chat) -> anyhow::Result<Value> {
    let (ada, ben, conversation) = chat.two_people().await?;
    chat.write_history(conversation, [&ada, &ben], HISTORY)
        .await?;
    // Ada has seen it all, so that it opens at its end.
    let reader = ChatClient::start(&ada);
    reader.read(conversation, HISTORY as i64);
    reader
        .await_state("the read mark", PATIENCE, |state| {
            let mark = state.logs.get(&conversation)?.read_up_to(ada.id);
            (mark == HISTORY as i64).then_some(())
        })
        .await?;
    reader.stop().await?;
    let account = |person: &Person| json!({ "email": person.email, "password": person.password, "username": person.username });
    Ok(json!({
        "conversation": conversation,
        "count": HISTORY,
        "people": [account(&ada), account(&ben)],
    }))
}
