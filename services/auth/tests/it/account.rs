use chat_events::Event;
use serde_json::json;

use crate::browser::{Browser, PASSWORD};
use crate::server::{Auth, Listener, count, database};

#[tokio::test]
async fn a_sign_up_makes_an_account_that_is_signed_in() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut listener = Listener::start(&cluster).await?;
    let mut anna = Browser::new(&auth);
    let body =
        json!({ "email": " Anna.B@Mail.EXAMPLE.org ", "password": PASSWORD, "username": "Anna.B" });
    let answer = anna.post("/api/auth/signup", &body).await?.expect(201)?;
    let user = &answer.body["user"];
    assert_eq!(user["username"], "anna.b");
    assert_eq!(user["display_name"], "anna.b");
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2);
    assert!(cookies.iter().all(|cookie| {
        cookie
            .to_str()
            .is_ok_and(|text| text.contains("; HttpOnly"))
    }));

    let me = anna.current_user().await?.expect(200)?;
    assert_eq!(me.body["user"]["id"], user["id"]);
    assert_eq!(me.body["user"]["email"], "Anna.B@mail.example.org");
    assert_eq!(me.session(), answer.session());

    let stored: String = sqlx::query_scalar("select password from accounts")
        .fetch_one(&mut database(&cluster).await?)
        .await?;
    assert!(
        stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1,keyid="),
        "{stored}"
    );
    let events = listener
        .until(|event| matches!(event, Event::UserLoggedIn { .. }))
        .await?;
    let Event::UserRegistered(registered) = &events[0] else {
        anyhow::bail!("the first event is not the registration: {events:?}");
    };
    assert_eq!(registered.user_id.to_string(), user["id"]);
    assert_eq!(registered.username, "anna.b");
    Ok(())
}

#[tokio::test]
async fn nobody_is_without_a_session() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    let mut nobody = Browser::new(&auth);
    nobody
        .current_user()
        .await?
        .problem(401, "unauthenticated")?;
    for bad in ["", "x", "a.b.c", "null"] {
        nobody.cookies.insert("auth".into(), bad.into());
        nobody
            .current_user()
            .await?
            .problem(401, "unauthenticated")?;
    }
    Ok(())
}

#[tokio::test]
async fn duplicate_data_gives_409_naming_the_field_and_no_row() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start(&cluster).await?;
    Browser::new(&auth).sign_up("morris").await?;
    for (email, username, fields) in [
        ("other@example.org", "morris", vec!["username"]),
        ("other@example.org", "MORRIS", vec!["username"]),
        // The eye reads the same name.
        ("other@example.org", "m0rris", vec!["username"]),
        ("other@example.org", "rnorris", vec!["username"]),
        ("morris@example.org", "boris", vec!["email"]),
        (" MORRIS@EXAMPLE.ORG", "boris", vec!["email"]),
        ("morris@example.org", "morris", vec!["email", "username"]),
    ] {
        let mut other = Browser::new(&auth);
        let body = json!({ "email": email, "password": PASSWORD, "username": username });
        let answer = other
            .post("/api/auth/signup", &body)
            .await?
            .problem(409, "taken")?;
        assert_eq!(answer.fields(), fields, "{email} {username}");
        assert!(other.cookies.is_empty());
    }
    assert_eq!(count(&cluster, "select count(*) from accounts").await?, 1);
    assert_eq!(count(&cluster, "select count(*) from sessions").await?, 1);
    Ok(())
}

#[tokio::test]
async fn of_eight_sign_ups_at_once_with_one_name_one_wins() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let (one, two) = (Auth::start(&cluster).await?, Auth::start(&cluster).await?);
    let tries = (0..8).map(|number| {
        let mut browser = Browser::new(if number % 2 == 0 { &one } else { &two });
        async move {
            let email = format!("racer{number}@example.org");
            let body = json!({ "email": email, "password": PASSWORD, "username": "racer" });
            anyhow::Ok(browser.post("/api/auth/signup", &body).await?.status)
        }
    });
    let mut outcomes = futures::future::try_join_all(tries).await?;
    outcomes.sort_unstable();
    assert_eq!(outcomes, [201, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(count(&cluster, "select count(*) from accounts").await?, 1);
    Ok(())
}

#[tokio::test]
async fn invalid_data_gives_400_naming_every_field_and_no_row() -> anyhow::Result<()> {
    let cluster = chat_local::testing::cluster().await;
    let auth = Auth::start_with(&cluster, &[("SIGNIN_PER_MINUTE", "1000")]).await?;
    let long = "x".repeat(129);
    let huge = "x".repeat(1_025);
    for (email, password, username, fields) in [
        ("no address", PASSWORD, "fine", vec!["email"]),
        ("a@b@example.org", PASSWORD, "fine", vec!["email"]),
        ("a\0@example.org", PASSWORD, "fine", vec!["email"]),
        ("a@example.org", PASSWORD, "no", vec!["username"]),
        ("a@example.org", PASSWORD, "-dash", vec!["username"]),
        ("a@example.org", PASSWORD, "white space", vec!["username"]),
        ("a@example.org", PASSWORD, "nul\0nul", vec!["username"]),
        ("a@example.org", PASSWORD, &long, vec!["username"]),
        ("a@example.org", "short", "fine", vec!["password"]),
        ("a@example.org", "password123", "fine", vec!["password"]),
        ("a@example.org", &long, "fine", vec!["password"]),
        ("a@example.org", &huge, "fine", vec!["password"]),
        (
            "a@example.org",
            "tiny lamp\0sings over",
            "fine",
            vec!["password"],
        ),
        (
            "a@example.org",
            "marguerite77",
            "marguerite",
            vec!["password"],
        ),
        ("", "", "", vec!["email", "username", "password"]),
    ] {
        let mut browser = Browser::new(&auth);
        let body = json!({ "email": email, "password": password, "username": username });
        let answer = browser
            .post("/api/auth/signup", &body)
            .await?
            .problem(400, "invalid")?;
        assert_eq!(answer.fields(), fields, "{email} {password} {username}");
        assert!(browser.cookies.is_empty());
    }
    for table in [
        "select count(*) from accounts",
        "select count(*) from outbox",
    ] {
        assert_eq!(count(&cluster, table).await?, 0);
    }
    Ok(())
}
