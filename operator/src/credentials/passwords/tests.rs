use super::*;

const GRACE: Duration = Duration::from_secs(40);

fn settled() -> Credentials {
    let services = Service::ALL.map(|it| (it.name().to_owned(), format!("old-{}", it.name())));
    Credentials {
        services: services.into(),
        ..Credentials::default()
    }
}

fn step(now: Credentials, request: &str, seen: bool, second: i64) -> Credentials {
    let seen = seen.then_some(GRACE);
    now.with_new_passwords(Some(request), seen, at(second))
        .expect("random numbers")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a second")
}

/// What services use, and what stores accept.
fn state(of: &Credentials) -> (Turn, Vec<Turn>) {
    let accepts = |turn: &Turn| of.passwords.accepts(*turn);
    let accepted = Turn::BOTH.into_iter().filter(accepts).collect();
    (of.passwords.used, accepted)
}

/// The stages of one change, the first of them announced.
fn change(from: Credentials, request: &str) -> [Credentials; 5] {
    let announced = step(from, request, true, 0);
    let swapped = step(announced.clone(), request, true, 1);
    let retiring = step(swapped.clone(), request, true, 10);
    let withdrawn = step(retiring.clone(), request, true, 10 + 70);
    let settled = step(withdrawn.clone(), request, true, 81);
    [announced, swapped, retiring, withdrawn, settled]
}

#[test]
fn two_logins_take_turns_and_no_store_refuses_one_that_is_in_use() {
    use Turn::{First, Second};
    let first = change(settled(), "1");
    let expected = [
        (First, vec![First, Second]),
        (Second, vec![First, Second]),
        (Second, vec![First, Second]),
        (Second, vec![Second]),
        (Second, vec![Second]),
    ];
    assert_eq!(first.each_ref().map(state), expected);
    assert_eq!(first[4].passwords.stage, Stage::Settled);

    let second = change(first[4].clone(), "2");
    let expected = [
        (Second, vec![First, Second]),
        (First, vec![First, Second]),
        (First, vec![First, Second]),
        (First, vec![First]),
        (First, vec![First]),
    ];
    assert_eq!(second.each_ref().map(state), expected);
}

#[test]
fn no_password_comes_twice_and_none_changes_while_it_is_accepted() {
    let first = change(settled(), "1");
    let second = change(first[4].clone(), "2");
    for service in Service::ALL {
        let old = settled().of(service).to_owned();
        let new = first[0].password(service, Turn::Second).to_owned();
        let newest = second[0].password(service, Turn::First).to_owned();
        assert!(old != new && new != newest && newest != old);
        assert_eq!((new.len(), newest.len()), (43, 43));
        for stage in &first[..4] {
            assert_eq!(stage.password(service, Turn::First), old);
        }
        for stage in first.iter().chain(&second[..4]) {
            assert_eq!(stage.password(service, Turn::Second), new);
        }
        assert_eq!(second[4].password(service, Turn::First), newest);
        // What is refused for good is forgotten.
        assert_eq!(second[4].password(service, Turn::Second), "");
    }
}

#[test]
fn no_stage_ends_before_what_it_waits_for_was_seen() {
    let [announced, swapped, retiring, withdrawn, _] = change(settled(), "1");
    for stage in [announced, swapped, withdrawn] {
        assert!(step(stage.clone(), "1", false, 99_999) == stage);
    }
    // The slowest pod may need 40 s, and clocks 30 s.
    assert!(step(retiring.clone(), "1", true, 10 + 69) == retiring);
    assert!(step(retiring.clone(), "1", false, 10 + 70) != retiring);
}

#[test]
fn a_request_is_heard_once_and_the_next_waits_for_its_end() {
    let [announced, .., done] = change(settled(), "1");
    assert!(step(done.clone(), "1", true, 100) == done);
    assert!(step(announced.clone(), "2", false, 100) == announced);
    let next = step(done, "2", false, 100);
    assert_eq!(next.passwords.stage, Stage::Announced);
    let untouched = settled().with_new_passwords(None, Some(GRACE), at(0));
    assert!(untouched.expect("no random numbers needed") == settled());
}

#[test]
fn the_secret_keeps_every_stage() {
    for stage in change(settled(), "1").into_iter().chain([settled()]) {
        let held: Data = stage
            .own_data()
            .into_iter()
            .map(|(key, value)| (key, value.as_bytes().to_vec()))
            .collect();
        let read = Passwords::read(&held, &stage.passwords.annotations());
        assert!(read == stage.passwords);
    }
}

#[test]
fn annotations_that_were_lost_take_no_login_from_services() {
    let first = change(settled(), "1");
    let second = change(first[4].clone(), "2");
    for stage in [settled()].iter().chain(&first).chain(&second) {
        let held: Data = stage
            .own_data()
            .into_iter()
            .map(|(key, value)| (key, value.as_bytes().to_vec()))
            .collect();
        let read = Passwords::read(&held, &BTreeMap::new());
        assert!(read.accepts(stage.passwords.used));
        if stage.passwords.stage == Stage::Settled {
            let (read, used) = ((read.used, read.stage), stage.passwords.used);
            assert_eq!(read, (used, Stage::Settled));
        }
    }
}

#[test]
fn a_time_that_was_lost_is_waited_for_anew() {
    let annotations = [(STAGE.to_owned(), "retiring".to_owned())].into();
    let read = Passwords::read(&Data::new(), &annotations);
    assert_eq!(read.stage, Stage::Swapped);
}

#[test]
fn the_operator_wakes_when_the_old_passwords_may_go() {
    let [announced, _, retiring, ..] = change(settled(), "1");
    assert_eq!(announced.passwords.wake(at(0)), None);
    let wake = retiring.passwords.wake(at(30));
    assert_eq!(wake, Some(Duration::from_secs(50)));
    assert_eq!(retiring.passwords.wake(at(500)), Some(Duration::ZERO));
}
