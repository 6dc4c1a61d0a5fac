//! Starts the whole chat, runs a command whose browsers record what they do and
//! show, closes the history as any other one and prints the verdicts:
//! `cargo run -p chat-e2e --example recorded -- node talk.mjs`.
//!
//! The command finds in its environment `CHAT_URL`, `CHAT_CAST` (the people and their
//! conversations), `CHAT_HISTORY_FILE` (where its lines go) and `CHAT_HISTORY_START`
//! (microseconds since 1970 from which they count).

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::checker::{Table, check};
use chat_e2e::history::{Function, History, Kind, Recorder, close};
use chat_e2e::{Chat, ChatClient, Person, await_until};
use serde_json::json;
use tokio::process::Command;

const NAMES: [&str; 3] = ["ada", "ben", "cleo"];
const SOON: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let folder = std::env::temp_dir().join(format!("chat-recorded-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("history.jsonl");
    let kept = record(&folder, &file).await?;
    if kept {
        std::fs::remove_dir_all(&folder)?;
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("the history is in {}", file.display());
    Ok(ExitCode::FAILURE)
}

/// Whether the history breaks no promise.
async fn record(folder: &Path, file: &Path) -> anyhow::Result<bool> {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().context("which command is to be run?")?;
    let chat = Chat::with_client().await?;
    let (ours, theirs) = (folder.join("ours.jsonl"), folder.join("theirs.jsonl"));
    let recorder = Recorder::create(&ours)?;
    let people = cast(&chat).await?;
    let mut conversations = Vec::new();
    for pair in [[0, 1], [0, 2]] {
        let [one, two] = pair.map(|index| &people[index]);
        let id = one.conversation_with(two).await?;
        recorder.conversation(id, &[one.id, two.id]);
        conversations.push(json!({ "id": id, "members": [one.id, two.id] }));
    }
    let people_of: Vec<_> = people
        .iter()
        .map(|person| json!({ "id": person.id, "username": person.username, "email": person.email, "password": person.password }))
        .collect();
    let line = recorder.harness().line(Kind::Info, Function::Final);
    let status = Command::new(program)
        .args(words)
        .env("CHAT_URL", &chat.site.url)
        .env(
            "CHAT_CAST",
            json!({ "people": people_of, "conversations": conversations }).to_string(),
        )
        .env("CHAT_HISTORY_FILE", &theirs)
        .env(
            "CHAT_HISTORY_START",
            (line.t_wall - line.t_mono).to_string(),
        )
        .status()
        .await?;
    ensure!(status.success(), "the command failed: {status}");
    let clients: Vec<ChatClient> = people
        .iter()
        .map(|person| ChatClient::recorded(person, &recorder))
        .collect();
    for client in &clients {
        client.await_connected().await?;
    }
    let all: Vec<&ChatClient> = clients.iter().collect();
    close(&chat, &recorder, &all, SETTLE).await?;
    for client in clients {
        client.stop().await?;
    }
    recorder.finish()?;
    chat.stop().await?;
    let mut whole = File::create(file)?;
    for part in [&ours, &theirs] {
        std::io::copy(&mut File::open(part)?, &mut whole)?;
    }
    judge(file)
}

async fn cast(chat: &Chat) -> anyhow::Result<Vec<Person>> {
    let mut people = Vec::new();
    for name in NAMES {
        people.push(Person::sign_up(&chat.site, name).await?);
    }
    // messages hears of new accounts by an event.
    for other in &people[1..] {
        await_until("the conversations", SOON, async || {
            people[0].conversation_with(other).await.map(Some)
        })
        .await?;
    }
    Ok(people)
}

fn judge(file: &Path) -> anyhow::Result<bool> {
    let history = History::read(BufReader::new(File::open(file)?))?;
    let verdicts = check(&history);
    let table = Table {
        history: &history,
        verdicts: &verdicts,
    };
    write!(std::io::stdout().lock(), "{table}")?;
    Ok(verdicts.iter().all(|(_, verdict)| verdict.is_ok()))
}
