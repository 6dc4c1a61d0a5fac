//! The directory of people: list, search, profile.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::ensure;
use chat_e2e::{Browser, Chat, Person, await_until};
use futures::future::try_join_all;
use serde_json::{Value, json};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn page_n_has_fixed_size_stable_order_no_repeats_across_pages() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    // A common prefix makes a list that other tests do not change.
    let prefix = prefix();
    let people = try_join_all((0..23).map(|_| Person::sign_up(&chat.site, &prefix))).await?;
    let reader = &people[0];
    await_count(reader, &prefix, 23).await?;
    for (direction, rising) in [("asc", true), ("desc", false)] {
        let mut names: Vec<String> = Vec::new();
        let mut cursor = String::new();
        let mut sizes = Vec::new();
        loop {
            let page = reader
                .get(&format!(
                    "/api/users?q={prefix}&sort=username&direction={direction}{cursor}"
                ))
                .await?
                .expect(200)?;
            let shown = names_of(&page);
            sizes.push(shown.len());
            names.extend(shown);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        ensure!(sizes == [10, 10, 3], "{sizes:?}");
        let mut sorted = names.clone();
        sorted.sort();
        if !rising {
            sorted.reverse();
        }
        ensure!(names == sorted, "{direction}: {names:?}");
        ensure!(names.iter().collect::<HashSet<_>>().len() == 23);
    }
    Ok(())
}

#[tokio::test]
async fn sort_by_status_shows_who_is_online_and_pages_without_repeats() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let prefix = prefix();
    let people = try_join_all((0..5).map(|_| Person::sign_up(&chat.site, &prefix))).await?;
    let _socket = chat_e2e::ChatSocket::open(&people[3]).await?;
    let reader = &people[0];
    await_count(reader, &prefix, 5).await?;
    // A list stays as it was when its first page was made: it must begin after the change.
    await_until("one of five online", SOON, async || {
        let path = format!("/api/users?q={prefix}&sort=status&direction=asc&limit=1");
        let page = reader.get(&path).await?.expect(200)?;
        Ok((page["users"][0]["status"] == "online").then_some(()))
    })
    .await?;
    let mut orders = Vec::new();
    for direction in ["asc", "desc"] {
        let mut users = Vec::new();
        let mut cursor = String::new();
        loop {
            let path =
                format!("/api/users?q={prefix}&sort=status&direction={direction}&limit=2{cursor}");
            let page = reader.get(&path).await?.expect(200)?;
            users.extend(page["users"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        orders.push(users);
    }
    for users in &orders {
        let ids: HashSet<_> = users.iter().map(|user| user["id"].to_string()).collect();
        ensure!((users.len(), ids.len()) == (5, 5), "{users:?}");
    }
    let at_the_end = |users: &[Value]| {
        let place = users.iter().position(|user| user["status"] == "online");
        matches!(place, Some(0 | 4))
    };
    ensure!(orders.iter().all(|users| at_the_end(users)), "{orders:?}");
    ensure!(
        orders[0][0]["status"] != orders[1][0]["status"],
        "{orders:?}"
    );
    Ok(())
}

#[tokio::test]
async fn exact_and_prefix_lookup_return_matching_users_only() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let (prefix, other) = (prefix(), prefix());
    let (ada, ben, cleo) = tokio::try_join!(
        Person::sign_up(&chat.site, &prefix),
        Person::sign_up(&chat.site, &prefix),
        Person::sign_up(&chat.site, &other)
    )?;
    await_count(&ada, &prefix, 2).await?;
    await_count(&ada, &other, 1).await?;
    let mut expected = [ada.username.clone(), ben.username.clone()];
    expected.sort();
    for q in [prefix.clone(), prefix.to_uppercase()] {
        let found = search(&ada, &q).await?;
        ensure!(found == expected, "{q}: {found:?}");
    }
    let exact = search(&ada, &cleo.username).await?;
    ensure!(exact == [&*cleo.username], "{exact:?}");
    // Characters with a meaning in patterns are only characters.
    for q in ["%25", "_______________", "%5C"] {
        let found = search(&ada, q).await?;
        ensure!(found.is_empty(), "{q}: {found:?}");
    }
    let one = ada
        .get(&format!("/api/users/{}", cleo.id))
        .await?
        .expect(200)?;
    ensure!(
        one["username"] == json!(cleo.username) && one.get("email").is_none(),
        "{one}"
    );
    ada.get(&format!("/api/users/{}", Uuid::now_v7()))
        .await?
        .expect_problem(404, "not_found")?;
    Browser::new(&chat.site)?
        .get(&format!("/api/users?q={prefix}"))
        .await?
        .expect_problem(401, "unauthenticated")
}

#[tokio::test]
async fn changed_name_appears_in_other_clients() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let [ada, ben] = chat.two_strangers().await?;
    let conversation = ada.conversation_with(&ben).await?;
    let changed = ada
        .patch("/api/users/me", &json!({ "display_name": "Ada Lovelace" }))
        .await?
        .expect(200)?;
    ensure!(changed["display_name"] == "Ada Lovelace", "{changed}");
    let seen = ben
        .get(&format!("/api/users/{}", ada.id))
        .await?
        .expect(200)?;
    ensure!(seen["display_name"] == "Ada Lovelace", "{seen}");
    await_until("the name in the conversation", SOON, async || {
        let shown = ben.conversation(conversation).await?;
        let known = shown["members"].as_array().is_some_and(|members| {
            members
                .iter()
                .any(|one| one["display_name"] == "Ada Lovelace")
        });
        Ok(known.then_some(()))
    })
    .await?;
    let own = ada.get("/api/auth/currentuser").await?.expect(200)?;
    ensure!(own["user"]["username"] == json!(ada.username));
    Ok(())
}

#[tokio::test]
async fn after_a_write_the_next_read_is_never_stale() -> anyhow::Result<()> {
    let chat = Chat::shared().await?;
    let prefix = prefix();
    let (ada, ben) = tokio::try_join!(
        Person::sign_up(&chat.site, &prefix),
        Person::sign_up(&chat.site, &prefix)
    )?;
    await_count(&ben, &prefix, 2).await?;
    for number in 0..30 {
        let name = format!("Ada the {number}th");
        // Fill the cache, write, and read what was just cached.
        names_of(&list(&ben, &prefix).await?);
        ada.patch("/api/users/me", &json!({ "display_name": name }))
            .await?
            .expect(200)?;
        let page = list(&ben, &prefix).await?;
        let shown = page["users"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|user| user["display_name"] == json!(name));
        ensure!(shown, "the list is stale after {name}: {page}");
    }
    Ok(())
}

/// Letters that no other test uses for names.
fn prefix() -> String {
    format!("p{}", &Uuid::new_v4().simple().to_string()[..10])
}

async fn list(reader: &Person, q: &str) -> anyhow::Result<Value> {
    reader
        .get(&format!("/api/users?q={q}&limit=100"))
        .await?
        .expect(200)
}

async fn search(reader: &Person, q: &str) -> anyhow::Result<Vec<String>> {
    let mut names = names_of(&list(reader, q).await?);
    names.sort();
    Ok(names)
}

/// New accounts reach users by an event.
async fn await_count(reader: &Person, q: &str, count: usize) -> anyhow::Result<()> {
    await_until("everybody in the list", SOON, async || {
        Ok((names_of(&list(reader, q).await?).len() == count).then_some(()))
    })
    .await
}

fn names_of(page: &Value) -> Vec<String> {
    page["users"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|user| user["username"].as_str().map(str::to_owned))
        .collect()
}
