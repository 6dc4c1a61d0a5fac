//! Two people with a conversation, notices, and something to hide.

use std::time::Duration;

use chat_e2e::{Chat, ChatClient, Person, await_until};
use chat_events::ConversationId;
use serde_json::{Value, json};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(10);

pub struct Victims {
    pub ada: Person,
    pub ben: Person,
    pub conversation: ConversationId,
    /// The notice that Ben has of Ada's message.
    pub notice: String,
    secret: String,
}

impl Victims {
    pub async fn meet(chat: &Chat) -> anyhow::Result<Self> {
        let (ada, ben, conversation) = chat.two_people().await?;
        let secret = format!("secret {}", Uuid::new_v4());
        let talker = ChatClient::start(&ada);
        talker.send(conversation, &secret);
        talker.await_outbox_empty(SOON).await?;
        talker.stop().await?;
        let notice = await_until("the notice", SOON, async || {
            let list = ben.get("/api/notifications").await?.expect(200)?;
            Ok(list["notices"][0]["id"].as_str().map(str::to_owned))
        })
        .await?;
        Ok(Self {
            ada,
            ben,
            conversation,
            notice,
            secret,
        })
    }

    /// What no answer to somebody else may contain.
    pub fn secrets(&self) -> Vec<String> {
        vec![
            self.secret.clone(),
            self.ada.email.clone(),
            self.ben.email.clone(),
            self.notice.clone(),
        ]
    }

    /// All that a stranger could have changed.
    pub async fn everything(&self) -> anyhow::Result<Value> {
        let mut notices = self.ben.get("/api/notifications").await?.expect(200)?;
        let conversation = self.ada.conversation(self.conversation).await?;
        let log = self
            .ada
            .get(&format!(
                "/api/messages/events?conversation={}&after=0",
                self.conversation
            ))
            .await?
            .expect(200)?;
        let mut names = Vec::new();
        for person in [&self.ada, &self.ben] {
            let user = person
                .get(&format!("/api/users/{}", person.id))
                .await?
                .expect(200)?;
            names.push(user["display_name"].clone());
        }
        // Messages of other conversations are none of this test's business.
        if let Some(list) = notices["notices"].as_array_mut() {
            list.retain(|notice| notice["conversation_id"] == json!(self.conversation));
        }
        Ok(json!({
            "notices": notices["notices"],
            "conversation": conversation,
            "log": log,
            "names": names,
        }))
    }
}
