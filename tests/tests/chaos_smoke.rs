//! The instrument on a real chat: recorded, disturbed, read to its end, judged.

use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

use anyhow::ensure;
use chat_e2e::checker::{self, Table};
use chat_e2e::history::{History, Kind, Recorder, close};
use chat_e2e::{Chat, ChatClient, Person, await_until};
use chat_events::{ConversationId, Service};
use futures::future::try_join_all;

const SOON: Duration = Duration::from_secs(20);
const RECOVERY: Duration = Duration::from_secs(60);
const PEOPLE: usize = 4;
/// By each person; a client may send 120 frames a minute.
const SENDS: usize = 80;

#[tokio::test]
async fn a_chat_that_loses_a_pod_is_recorded_and_keeps_every_promise() -> anyhow::Result<()> {
    let chat = Chat::replicas(2).await?;
    let path = std::env::temp_dir().join(format!("history-{}.jsonl", chat.cluster().name));
    let recorder = Recorder::create(&path)?;
    let people = try_join_all((0..PEOPLE).map(|_| Person::sign_up(&chat.site, "person"))).await?;
    let conversations = everybody_with_everybody(&recorder, &people).await?;
    let clients: Vec<_> = people
        .iter()
        .map(|person| ChatClient::recorded(person, &recorder))
        .collect();
    for client in &clients {
        client.await_connected().await?;
    }
    // One more tab, which signs out in the middle.
    let guest = people[0].sign_in_elsewhere().await?;
    let tab = ChatClient::recorded(&guest, &recorder);
    tab.await_connected().await?;

    talk(&clients, &conversations, 0..SENDS / 2);
    for service in [Service::Messages, Service::SocketHandler] {
        let what = format!("{} 0", service.name());
        recorder.fault(&what, Kind::Invoke);
        chat.pod(service, 0).kill().await?;
        for client in &clients {
            client.await_outbox_empty(RECOVERY).await?;
        }
        chat.pod(service, 0).start().await?;
        recorder.fault(&what, Kind::Ok);
        talk(&clients, &conversations, SENDS / 2..SENDS * 3 / 4);
    }
    tab.sign_out().await?;
    tab.await_state("the end of the session", SOON, |state| {
        state.signed_out.then_some(())
    })
    .await?;
    tab.stop().await?;
    for client in &clients {
        client.await_outbox_empty(RECOVERY).await?;
        for (conversation, _) in &conversations {
            let top = client.state().top(*conversation);
            if top > 0 {
                client.read(*conversation, top);
            }
        }
    }
    let all: Vec<_> = clients.iter().collect();
    close(&chat, &recorder, &all, RECOVERY).await?;
    for client in clients {
        client.stop().await?;
    }
    recorder.finish()?;

    let history = History::read(BufReader::new(File::open(&path)?))?;
    let verdicts = checker::check(&history);
    let table = Table {
        history: &history,
        verdicts: &verdicts,
    };
    eprintln!("{table}");
    let kept = verdicts.iter().all(|(_, verdict)| verdict.is_ok());
    ensure!(kept, "the history is in {}:\n{table}", path.display());
    for (invariant, verdict) in &verdicts {
        // Presence is judged 45 s after the last change, and pods only if they were sampled.
        ensure!(
            ["I12", "I20"].contains(&invariant.name) || *verdict != Ok(0),
            "the run tells {} nothing",
            invariant.name
        );
    }
    let sends = history.sends.iter().filter(|send| send.answered.is_some());
    ensure!(sends.count() >= PEOPLE * SENDS, "{table}");
    std::fs::remove_file(&path)?;
    Ok(())
}

type Pair = (ConversationId, [usize; 2]);

async fn everybody_with_everybody(
    recorder: &Recorder,
    people: &[Person],
) -> anyhow::Result<Vec<Pair>> {
    let mut conversations = Vec::new();
    for (one, ada) in people.iter().enumerate() {
        for (two, ben) in people.iter().enumerate().skip(one + 1) {
            // messages hears of new accounts by an event.
            let conversation = await_until("the conversation", SOON, async || {
                ada.conversation_with(ben).await.map(Some)
            })
            .await?;
            recorder.conversation(conversation, &[ada.id, ben.id]);
            conversations.push((conversation, [one, two]));
        }
    }
    Ok(conversations)
}

/// Each says so many things, in turn in all conversations that they are in.
fn talk(clients: &[ChatClient], conversations: &[Pair], numbers: std::ops::Range<usize>) {
    for (index, client) in clients.iter().enumerate() {
        let mine = conversations
            .iter()
            .filter(|(_, pair)| pair.contains(&index));
        for (number, (conversation, _)) in numbers.clone().zip(mine.cycle()) {
            client.send(*conversation, &format!("message {number}"));
        }
        if let Some((conversation, _)) =
            conversations.iter().find(|(_, pair)| pair.contains(&index))
        {
            client.types(*conversation);
        }
    }
}
