//! Two accounts to try the chat with, made through the public API.

use anyhow::{Context, Result, bail};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::files;

/// The generated password is kept, so that the next `up` shows the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    pub email: String,
    pub username: String,
    pub password: String,
}

/// Alice and Bob, signed up when they do not exist yet.
pub async fn accounts(url: &str) -> Result<Vec<Account>> {
    let file = files::local().join("demo.json");
    let accounts = match std::fs::read(&file) {
        Ok(kept) => serde_json::from_slice(&kept).with_context(|| {
            format!("{} is damaged: use --fresh to start empty.", file.display())
        })?,
        Err(_) => {
            let made = ["alice", "bob"].map(|name| Account {
                email: format!("{name}@example.com"),
                username: name.into(),
                password: password(),
            });
            let made = made.to_vec();
            chat_local::write_private(&file, serde_json::to_string_pretty(&made)?)?;
            made
        }
    };
    for account in &accounts {
        // Signing up twice is answered like the first time, so ask this first.
        if !signs_in(url, account).await? {
            sign_up(url, account).await?;
        }
    }
    Ok(accounts)
}

async fn signs_in(url: &str, account: &Account) -> Result<bool> {
    let body = json!({ "email": account.email, "password": account.password });
    let answer = post(url, "signin", &body).await?;
    match answer.status() {
        StatusCode::OK => Ok(true),
        StatusCode::UNAUTHORIZED => Ok(false),
        status => bail!("signing in as {} was answered with {status}", account.email),
    }
}

async fn sign_up(url: &str, account: &Account) -> Result<()> {
    let answer = post(url, "signup", &serde_json::to_value(account)?).await?;
    let status = answer.status();
    if !status.is_success() {
        bail!(
            "the demo account {} was refused ({status}): {}",
            account.email,
            answer.text().await.unwrap_or_default()
        );
    }
    Ok(())
}

async fn post(url: &str, path: &str, body: &serde_json::Value) -> Result<reqwest::Response> {
    let request = reqwest::Client::new().post(format!("{url}/api/auth/{path}"));
    Ok(request.header("Origin", url).json(body).send().await?)
}

/// 80 bits, in groups that people can type.
fn password() -> String {
    let letters = chat_local::new_password().to_lowercase();
    let groups = [
        &letters[..4],
        &letters[4..8],
        &letters[8..12],
        &letters[12..16],
    ];
    groups.join("-")
}
