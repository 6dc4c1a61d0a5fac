use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::Context;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::browser::{Browser, PASSWORD, email};
use crate::server::{Auth, count};

/// Good, but for being in the list; the second as its SHA-1.
const LISTED: [&str; 3] = [
    "winter comes over the hills",
    "seven green bottles standing",
    "grüße vom alten hafen",
];
const LIST: &str = "winter comes over the hills\r
2A894F5A49D9D82C6D1A9094A31BE8650B30FEAF:17
grüße vom alten hafen
short
";

/// A folder of this test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("auth-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `auth breached-passwords - FILE`.
async fn build(list: &str, file: &Path) -> anyhow::Result<Output> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_auth"))
        .args(["breached-passwords", "-"])
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    input.write_all(list.as_bytes()).await?;
    drop(input);
    Ok(child.wait_with_output().await?)
}

#[tokio::test]
async fn a_password_known_from_a_breach_is_refused_and_another_is_not() -> anyhow::Result<()> {
    let (cluster, folder) = (chat_local::testing::cluster().await, Folder::new()?);
    let file = folder.file("breached");
    let built = build(LIST, &file).await?;
    assert!(built.status.success(), "{built:?}");
    assert_eq!(String::from_utf8(built.stdout)?, "3 passwords\n");
    let path = file.to_str().context("a path")?;
    let auth = Auth::start_with(&cluster, &[("BREACHED_PASSWORDS", path)]).await?;
    let mut browser = Browser::new(&auth);
    for password in LISTED
        .map(str::to_owned)
        .into_iter()
        .chain([LISTED[0].to_uppercase()])
    {
        let body = json!({ "email": email("ida"), "password": password, "username": "ida" });
        let answer = browser
            .post("/api/auth/signup", &body)
            .await?
            .problem(400, "invalid")?;
        assert_eq!(answer.fields(), ["password"], "{password}");
        assert!(
            answer.body.to_string().contains("breach"),
            "{}",
            answer.body
        );
    }
    assert_eq!(count(&cluster, "select count(*) from accounts").await?, 0);
    browser.sign_up("ida").await?;
    let to = |new: &str| json!({ "current_password": PASSWORD, "new_password": new });
    let answer = browser
        .post("/api/auth/password", &to(LISTED[2]))
        .await?
        .problem(400, "invalid")?;
    assert_eq!(answer.fields(), ["new_password"]);
    let free = format!("{}s", LISTED[2]);
    browser
        .post("/api/auth/password", &to(&free))
        .await?
        .expect(200)?;
    Ok(())
}

#[tokio::test]
async fn who_has_a_password_that_was_breached_later_still_gets_in() -> anyhow::Result<()> {
    let (cluster, folder) = (chat_local::testing::cluster().await, Folder::new()?);
    let auth = Auth::start(&cluster).await?;
    Browser::new(&auth).sign_up("jette").await?;
    drop(auth);
    let file = folder.file("breached");
    build(PASSWORD, &file).await?;
    let path = file.to_str().context("a path")?;
    let auth = Auth::start_with(&cluster, &[("BREACHED_PASSWORDS", path)]).await?;
    Browser::new(&auth)
        .sign_in("jette", PASSWORD)
        .await?
        .expect(200)?;
    Ok(())
}

#[tokio::test]
async fn with_a_file_that_is_missing_or_damaged_auth_does_not_start_and_says_why()
-> anyhow::Result<()> {
    let (cluster, folder) = (chat_local::testing::cluster().await, Folder::new()?);
    let (missing, damaged, list) = (
        folder.file("missing"),
        folder.file("damaged"),
        folder.file("list"),
    );
    build(LIST, &damaged).await?;
    let whole = std::fs::read(&damaged)?;
    std::fs::write(&damaged, &whole[..whole.len() - 1])?;
    // The list itself is not the file.
    std::fs::write(&list, LIST)?;
    for (path, reason) in [
        (&missing, "No such file"),
        (
            &damaged,
            "which is damaged. Make it anew: auth breached-passwords",
        ),
        (
            &list,
            "which is damaged. Make it anew: auth breached-passwords",
        ),
    ] {
        let path = path.to_str().context("a path")?;
        let mut auth = Auth::launch(&cluster, &[("BREACHED_PASSWORDS", path)]).await?;
        let error = auth.ready().await.err().map(|error| format!("{error:#}"));
        let error = error.with_context(|| format!("auth started with {path}"))?;
        assert!(error.contains("auth ended"), "{error}");
        let named = format!("BREACHED_PASSWORDS names {path}");
        assert!(error.contains(&named) && error.contains(reason), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_list_without_passwords_makes_no_file() -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let file = folder.file("breached");
    for list in ["", "\n\n", "short\ntiny\n"] {
        let built = build(list, &file).await?;
        assert!(!built.status.success(), "{list:?}");
        assert!(!file.exists(), "{list:?}");
    }
    Ok(())
}
