//! A reader that stops reading: nobody waits for it, and it loses nothing.

use std::time::Duration;

use anyhow::{Context, ensure};
use chat_e2e::{Chat, ChatClient, ChatSocket};
use chat_events::{ClientId, ConversationId, Event, MessageSent, Service, UserId, close, limits};
use tokio_tungstenite::tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(60);
const BATCH: usize = 16;
/// Some 65 MB: far more than two kernels and a mailbox hold.
const MOST: usize = 4_000;

#[tokio::test]
async fn a_stalled_reader_never_delays_others_is_closed_with_4008_and_resumes() -> anyhow::Result<()>
{
    let chat = Chat::alone().await?;
    let (ada, ben, conversation) = chat.two_people().await?;
    let door = chat.door(Service::SocketHandler, 0);
    let mut stalled = ChatSocket::open_small(&ada.at(&door)).await?;
    let reader = ChatClient::start(&ben);
    reader.await_connected().await?;
    let slow_readers = format!(
        "chat_sockets_closed_total{{code=\"{}\"}}",
        close::SLOW_READER
    );
    let is_closed = async || {
        let count = chat
            .metric(Service::SocketHandler, 0, &slow_readers)
            .await?;
        anyhow::Ok(count >= 1.0)
    };
    let mut said = 0;
    while !is_closed().await? {
        ensure!(
            said < MOST,
            "{said} large messages fit, and it is not closed"
        );
        chat.publish(large_messages(conversation, ben.id)).await?;
        said += BATCH;
        // Everything is here before the next batch leaves.
        reader.await_texts(conversation, said, PATIENCE).await?;
        // A peer that is there but does not read. Once it was closed, this fails.
        let _ = stalled.send_message(Message::Pong(Vec::new().into())).await;
    }
    ensure!(
        reader.state().connections == 1,
        "the other stayed connected"
    );
    drop(stalled);

    let back = ChatClient::start(&ada);
    back.await_texts(conversation, said, PATIENCE).await?;
    ensure!(back.state().violations().is_empty());
    ensure!(back.texts(conversation) == reader.texts(conversation));
    // Pages larger than a mailbox are no reason to be closed.
    ensure!(back.state().connections == 1, "{:?}", back.state().gaps);
    let bytes = said * limits::CONTENT_CHARS * char::len_utf8(LARGE);
    ensure!(
        bytes > 2 * limits::OUT_QUEUE,
        "only {bytes} bytes to resume"
    );
    back.stop().await?;
    reader.stop().await.context("the reader")
}

const LARGE: char = '🙂';

fn large_messages(conversation_id: ConversationId, sender_id: UserId) -> Vec<Event> {
    let content = LARGE.to_string().repeat(limits::CONTENT_CHARS);
    let message = || MessageSent {
        conversation_id,
        sender_id,
        client_id: ClientId::generate(),
        content: content.clone(),
    };
    (0..BATCH).map(|_| Event::MessageSent(message())).collect()
}
