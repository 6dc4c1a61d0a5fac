use std::collections::HashSet;

use super::*;

fn data<K: ToString>(values: &BTreeMap<K, &str>) -> Data {
    values
        .iter()
        .map(|(key, value)| (key.to_string(), value.as_bytes().to_vec()))
        .collect()
}

fn made() -> Credentials {
    Credentials::read_or_make(None, None, None, &BTreeMap::new(), None).expect("random numbers")
}

fn read(own: &Data, jwt: Option<(&Data, &Annotations)>) -> Credentials {
    let none = BTreeMap::new();
    let own = Some((own, &none));
    Credentials::read_or_make(own, jwt, Some("given"), &BTreeMap::new(), None)
        .expect("random numbers")
}

#[test]
fn everything_is_made_at_first_and_no_two_are_the_same() {
    let made = made();
    let mut all: Vec<&str> = made.own_data().into_values().collect();
    all.push(&made.jwt_key);
    assert_eq!(all.len(), 10);
    for secret in &all {
        assert_eq!(secret.len(), 43);
        assert!(secret.bytes().all(|it| it.is_ascii_alphanumeric()));
    }
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 10);
    assert_eq!(made.jwt_key_previous, None);
}

#[test]
fn what_the_secrets_hold_never_changes() {
    let made = made();
    let jwt = data(&[(JWT_KEY, "k"), (JWT_KEY_PREVIOUS, "p")].into());
    let annotations = [(rotation::STAGE.to_owned(), "swapped".to_owned())].into();
    let read = read(&data(&made.own_data()), Some((&jwt, &annotations)));
    assert_eq!(read.own_data(), made.own_data());
    assert_eq!(read.jwt_key, "k");
    assert_eq!(read.jwt_key_previous.as_deref(), Some("p"));
    assert_eq!(read.rotation.stage, Stage::Swapped);
}

#[test]
fn only_what_is_missing_is_made() {
    let made = made();
    let mut kept = data(&made.own_data());
    kept.remove("messages");
    kept.insert("redis".into(), Vec::new());
    let read = read(&kept, None);
    assert_ne!(read.of(Service::Messages), made.of(Service::Messages));
    assert_ne!(read.redis, made.redis);
    let same = |of: &Credentials| {
        let mut data = data(&of.own_data());
        data.retain(|key, _| key != "messages" && key != "redis");
        data
    };
    assert_eq!(same(&read), same(&made));
}

#[test]
fn a_users_key_is_the_first_key() {
    let read = Credentials::read_or_make(None, None, Some("given"), &BTreeMap::new(), None)
        .expect("random numbers");
    assert_eq!(read.jwt_key, "given");
    assert_eq!(read.rotation, Rotation::default());
}

#[test]
fn a_deleted_secret_comes_back_with_what_pods_mount_and_with_new_passwords_besides() {
    let mounted = |values: &[(&str, &str)]| data(&values.iter().copied().collect());
    let users = |passwords: &[(&str, &str)]| {
        let parts = [
            ("postgres", mounted(&[("postgres", "superuser")])),
            ("rabbitmq", mounted(&[("erlang-cookie", "cookie")])),
            ("redis", mounted(&[("admin", "administrator")])),
            ("users", mounted(passwords)),
        ];
        Credentials::read_or_make(None, None, None, &parts.into(), Some("asked long ago"))
            .expect("random numbers")
    };
    let one = users(&[("password-2", "in use")]);
    assert_eq!(
        (&*one.postgres, &*one.erlang_cookie, &*one.redis),
        ("superuser", "cookie", "administrator")
    );
    assert_eq!(one.passwords.used, Turn::Second);
    assert_eq!(one.passwords.stage, PasswordStage::Announced);
    assert_eq!(one.password(Service::Users, Turn::Second), "in use");
    assert_eq!(one.password(Service::Users, Turn::First).len(), 43);
    // New ones are what that request was for.
    assert_eq!(one.passwords.heard.as_deref(), Some("asked long ago"));

    // On the way from one to the other, both stay until services use one of them.
    let both = users(&[("password-1", "a"), ("password-2", "b")]);
    assert_eq!(both.passwords.stage, PasswordStage::Swapped);
    let passwords = Turn::BOTH.map(|turn| both.password(Service::Users, turn).to_owned());
    assert_eq!(passwords, ["a", "b"]);

    let delegated = users(&[("DB_PASSWORD", "theirs")]);
    assert_eq!(delegated.of(Service::Users), "theirs");
}

#[test]
fn no_letter_is_likelier_than_another() {
    let mut counts = BTreeMap::new();
    for _ in 0..2_000 {
        for letter in new_secret().expect("random numbers").chars() {
            *counts.entry(letter).or_insert(0) += 1;
        }
    }
    // 86,000 letters, 1,387 of each: 1,100 is more than seven deviations away.
    assert_eq!(counts.len(), 62);
    assert!(
        counts.values().all(|it| (1_100..1_700).contains(it)),
        "{counts:?}"
    );
}

#[test]
fn nothing_of_it_is_printed() {
    assert_eq!(format!("{:?}", made()), "Credentials { .. }");
}
