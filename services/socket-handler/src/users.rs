//! The one question to the users service: who has this name?

use chat_events::UserId;
use secrecy::SecretString;
use serde::Deserialize;

use crate::messages::{AskError, answer};

#[derive(Clone)]
pub struct Users {
    client: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct Page {
    users: Vec<User>,
}

#[derive(Deserialize)]
struct User {
    id: UserId,
    username: String,
}

impl Users {
    pub fn new(client: reqwest::Client, url: &str) -> Self {
        Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
        }
    }

    /// The user with exactly this name.
    pub async fn by_name(&self, token: &SecretString, name: &str) -> Result<UserId, AskError> {
        let request = self
            .client
            .get(format!("{}/api/users", self.url))
            .query(&[("username", name)]);
        let page: Page = answer(request, token).await?;
        page.users
            .into_iter()
            .find(|user| user.username == name)
            .map(|user| user.id)
            .ok_or(AskError::NotFound)
    }
}
