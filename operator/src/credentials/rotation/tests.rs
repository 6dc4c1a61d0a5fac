use super::*;

fn settled() -> Credentials {
    Credentials {
        jwt_key: "old".into(),
        ..Credentials::default()
    }
}

fn asked(request: &str) -> Wish<'_> {
    Wish::Generated {
        request: Some(request),
        fresh: "new",
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a second")
}

fn keys(credentials: &Credentials) -> (&str, Option<&str>) {
    (
        &credentials.jwt_key,
        credentials.jwt_key_previous.as_deref(),
    )
}

#[test]
fn a_new_key_is_announced_then_signs_and_then_stands_alone() {
    let announced = settled().rotated(asked("1"), true, at(0));
    assert_eq!(keys(&announced), ("old", Some("new")));

    let swapped = announced.rotated(asked("1"), true, at(1));
    assert_eq!(keys(&swapped), ("new", Some("old")));

    let retiring = swapped.rotated(asked("1"), true, at(10));
    assert_eq!(keys(&retiring), ("new", Some("old")));
    let early = retiring.clone().rotated(asked("1"), true, at(10 + 719));
    assert_eq!(keys(&early), ("new", Some("old")));

    let done = retiring.rotated(asked("1"), true, at(10 + 720));
    assert_eq!(keys(&done), ("new", None));
    assert_eq!(done.rotation.stage, Stage::Settled);
}

#[test]
fn no_key_signs_before_every_pod_knows_it_and_none_goes_while_a_pod_signs_with_it() {
    let announced = settled().rotated(asked("1"), true, at(0));
    let waiting = announced.clone().rotated(asked("1"), false, at(99_999));
    assert!(waiting == announced);

    let swapped = announced.rotated(asked("1"), true, at(1));
    let waiting = swapped.clone().rotated(asked("1"), false, at(99_999));
    assert!(waiting == swapped);
}

#[test]
fn a_request_is_heard_once() {
    let mut done = settled();
    for second in [0, 1, 2, 2_000] {
        done = done.rotated(asked("1"), true, at(second));
    }
    assert_eq!(keys(&done), ("new", None));
    let same = done.clone().rotated(asked("1"), true, at(2_001));
    assert!(same == done);
    let second = Wish::Generated {
        request: Some("2"),
        fresh: "newer",
    };
    let again = done.rotated(second, true, at(2_001));
    assert_eq!(keys(&again), ("new", Some("newer")));
}

#[test]
fn without_a_request_the_key_stays() {
    let wish = Wish::Generated {
        request: None,
        fresh: "new",
    };
    assert!(settled().rotated(wish, true, at(0)) == settled());
}

#[test]
fn another_key_in_the_users_secret_takes_the_same_way() {
    assert!(settled().rotated(Wish::Given("old"), true, at(0)) == settled());
    let announced = settled().rotated(Wish::Given("theirs"), true, at(0));
    assert_eq!(keys(&announced), ("old", Some("theirs")));
    // It changes once more on the way: the first change comes to its end, then
    // the second begins.
    let mut now = announced;
    for second in [1, 2, 2_000] {
        now = now.rotated(Wish::Given("last"), true, at(second));
    }
    assert_eq!(keys(&now), ("theirs", None));
    let now = now.rotated(Wish::Given("last"), true, at(2_001));
    assert_eq!(keys(&now), ("theirs", Some("last")));
}

#[test]
fn annotations_keep_every_stage() {
    for stage in [
        Stage::Settled,
        Stage::Announced,
        Stage::Swapped,
        Stage::Retiring(at(7)),
    ] {
        for heard in [None, Some("1".to_owned())] {
            let rotation = Rotation { stage, heard };
            assert_eq!(Rotation::read(&rotation.annotations()), rotation);
        }
    }
}

#[test]
fn a_time_that_was_lost_is_waited_for_anew() {
    let annotations = [(STAGE.to_owned(), "retiring".to_owned())].into();
    assert_eq!(Rotation::read(&annotations).stage, Stage::Swapped);
}

#[test]
fn the_operator_wakes_when_the_old_key_may_go() {
    let mut rotation = Rotation::default();
    assert_eq!(rotation.wake(at(0)), None);
    rotation.stage = Stage::Retiring(at(0));
    assert_eq!(rotation.wake(at(20)), Some(Duration::from_secs(700)));
    assert_eq!(rotation.wake(at(5_000)), Some(Duration::ZERO));
}
