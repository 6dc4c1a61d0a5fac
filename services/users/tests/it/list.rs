//! Rows 14 and 15: the list, its order, its pages and the search.

use std::collections::HashSet;

use chat_events::limits;
use reqwest::StatusCode;

use crate::harness::{Stack, json, names, problem, until};

#[tokio::test]
async fn page_n_has_fixed_size_stable_order_and_no_repeats_across_pages() {
    let stack = Stack::start().await;
    let known: Vec<String> = (0..25).map(|number| format!("User{number:02}")).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let people = stack.people(&known).await;
    for (direction, reverse) in [("asc", false), ("desc", true)] {
        let (mut seen, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
        loop {
            let query = format!("sort=username&direction={direction}{cursor}");
            let page = stack.list(&people[0], &query).await;
            sizes.push(names(&page).len());
            seen.extend(names(&page));
            // Others come and change their names while somebody turns the pages.
            let name = format!("Aaa {}", seen.len());
            assert_eq!(
                stack.rename(&people[3], &name).await.status(),
                StatusCode::OK
            );
            stack
                .person(&format!("aa-{direction}-{}", seen.len()))
                .await;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut expected = known.clone();
        if reverse {
            expected.reverse();
        }
        // Newcomers may be seen or not; those who were there are seen once.
        seen.retain(|name| !name.starts_with("aa-"));
        assert_eq!(seen, expected, "{direction}");
        let (last, full) = sizes.split_last().expect("pages");
        assert!(full.iter().all(|size| *size == limits::USERS_PAGE as usize));
        assert!(*last <= limits::USERS_PAGE as usize);
    }
}

#[tokio::test]
async fn a_list_by_status_shows_everybody_once_while_they_come_and_go() {
    let stack = Stack::start().await;
    let pod = stack.pod("pod-a").await;
    let known: Vec<String> = (0..12).map(|number| format!("user{number:02}")).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let people = stack.people(&known).await;
    for person in &people[6..] {
        pod.presence.opened(person.id).await;
        stack.await_transitions(person, &["online"]).await;
    }
    for (direction, first) in [("asc", "user06"), ("desc", "user05")] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for round in 0.. {
            let query = format!("sort=status&direction={direction}&limit=3{cursor}");
            let page = stack.list(&people[0], &query).await;
            seen.extend(names(&page));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
            // Somebody who was shown leaves, and somebody who was not comes, or
            // the other way round in the other direction.
            let (one, other) = (&people[round], &people[6 + round]);
            let before = (stack.transitions(one).len(), stack.transitions(other).len());
            if before.0.is_multiple_of(2) {
                pod.presence.opened(one.id).await;
                pod.presence.closed(other.id).await;
            } else {
                pod.presence.closed(one.id).await;
                pod.presence.opened(other.id).await;
            }
            until("both are told", async || {
                let now = (stack.transitions(one).len(), stack.transitions(other).len());
                (now == (before.0 + 1, before.1 + 1)).then_some(())
            })
            .await;
        }
        assert_eq!(seen.len(), 12, "{direction}: {seen:?}");
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), 12);
        assert_eq!(seen[0], first);
        if direction == "asc" {
            assert_eq!(seen[..6], known[6..]);
            assert_eq!(seen[6..], known[..6]);
            // Back to where they were.
            for (one, other) in people[..3].iter().zip(&people[6..9]) {
                pod.presence.closed(one.id).await;
                pod.presence.opened(other.id).await;
                stack.await_transitions(one, &["online", "offline"]).await;
                stack
                    .await_transitions(other, &["online", "offline", "online"])
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn exact_and_prefix_lookup_return_matching_users_only() {
    let stack = Stack::start().await;
    let people = stack
        .people(&["Ada", "adam", "bob", "a_c", "a%c", "Zoë", "zz"])
        .await;
    let reader = &people[0];
    let renamed = stack.rename(&people[2], "Adrian Bob").await;
    assert_eq!(renamed.status(), StatusCode::OK);
    for (query, expected) in [
        ("q=ad", vec!["Ada", "adam", "bob"]),
        ("q=AD", vec!["Ada", "adam", "bob"]),
        ("q=ada", vec!["Ada", "adam"]),
        ("q=adrian%20b", vec!["bob"]),
        ("username=ADA", vec!["Ada"]),
        ("username=ad", vec![]),
        ("q=a_", vec!["a_c"]),
        ("q=a%25", vec!["a%c"]),
        ("q=%25", vec![]),
        ("q=_", vec![]),
        ("q=%5C", vec![]),
        ("q=zo%C3%8B", vec!["Zoë"]),
        ("q=dam", vec![]),
        ("q=%F4%8F%BF%BF", vec![]),
        ("q=&limit=2", vec!["a%c", "a_c"]),
    ] {
        let page = stack.list(reader, query).await;
        assert_eq!(names(&page), expected, "{query}");
    }
    let one = stack.user(reader, people[5].id).await.expect("a user");
    assert_eq!(one["username"], "Zoë");
    let mut fields: Vec<&String> = one.as_object().expect("an object").keys().collect();
    fields.sort();
    assert_eq!(
        fields,
        ["display_name", "id", "last_seen_at", "status", "username"]
    );
}

#[tokio::test]
async fn a_page_has_1_to_100_users() {
    let stack = Stack::start().await;
    let reader = stack.person("reader").await;
    sqlx::query(
        "insert into users (id, username, display_name, username_key, display_name_key, version)
         select gen_random_uuid(), name, name, name, name, 1
         from (select 'many' || number as name from generate_series(1, 120) as number) as names",
    )
    .execute(&stack.database)
    .await
    .expect("rows");
    for limit in [1, 100] {
        let page = stack.list(&reader, &format!("q=many&limit={limit}")).await;
        assert_eq!(names(&page).len(), limit);
    }
    for limit in ["0", "101", "-1", "x", "99999999999"] {
        let answer = stack
            .get(&reader, &format!("/api/users?limit={limit}"))
            .await;
        problem(answer, 400, "invalid").await;
    }
}

#[tokio::test]
async fn lists_and_searches_read_an_index_and_not_the_table() {
    let stack = Stack::start().await;
    let reader = stack.person("reader").await;
    // Its own statements are not those of this test.
    let _quiet = stack.nobody_sweeps().await;
    sqlx::query(
        "insert into users (id, username, display_name, username_key, display_name_key, version, online)
         select gen_random_uuid(), name, name, name, name, 1, number % 50 = 0
         from (select number, md5(number::text) as name from generate_series(1, 30000) as number) as names",
    )
    .execute(&stack.database)
    .await
    .expect("rows");
    sqlx::query("vacuum analyze users")
        .execute(&stack.database)
        .await
        .expect("statistics");
    let before = stack.reads_of_users().await;
    for query in [
        "sort=username",
        "sort=username&direction=desc",
        "sort=status",
        "sort=status&direction=desc",
        "q=ab1",
        "q=ab2&sort=status",
        "username=ab",
    ] {
        let mut cursor = String::new();
        for _ in 0..3 {
            let answer = stack
                .get(&reader, &format!("/api/users?{query}{cursor}"))
                .await;
            let page = json(answer, StatusCode::OK).await;
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
    }
    let after = stack.reads_of_users().await;
    assert_eq!(
        after.of_table, before.of_table,
        "rows read without an index"
    );
    // Two pages at least of each list, or nothing was looked at.
    assert!(after.of_indexes >= before.of_indexes + 10);
}
