//! Cursors of the list as a client may make them up.

use base64::Engine;
use chat_e2e::fuzz::{fuzz, must};
use chat_events::{Code, text};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use uuid::Uuid;

use super::{BASE64, KEY_CHARS, Moment, Position, decode, encode};
use crate::users::order::{Direction, Order, Sort};

fn order(sort: Sort) -> Order {
    Order {
        sort,
        direction: Direction::Asc,
        prefix: None,
        username: None,
    }
}

fn cursor() -> impl Strategy<Value = Vec<u8>> {
    let moment = prop::option::of((any::<i64>(), any::<bool>()))
        .prop_map(|moment| moment.map(|(version, online)| Moment { version, online }));
    ("[a-z0-9_é]{0,40}", any::<u128>(), moment).prop_map(|(key, id, moment)| {
        let sort = moment.map_or(Sort::Username, |_| Sort::Status);
        let id = Uuid::from_u128(id);
        encode(&order(sort), Position { key, id, moment }).into_bytes()
    })
}

/// Without its wrapping, so that its members are changed.
fn unwrapped() -> impl Strategy<Value = Vec<u8>> {
    cursor().prop_map(|cursor| BASE64.decode(cursor).expect("just encoded"))
}

#[test]
fn a_hostile_cursor_is_refused_or_a_place_in_the_list() {
    fuzz("cursors", cursor(), |cursor| {
        is_refused_or_sound(&String::from_utf8_lossy(cursor))
    });
}

#[test]
fn a_cursor_with_hostile_members_is_refused_or_a_place_in_the_list() {
    fuzz("cursors", unwrapped(), |json| {
        is_refused_or_sound(&BASE64.encode(json))
    });
}

fn is_refused_or_sound(cursor: &str) -> TestCaseResult {
    for sort in [Sort::Username, Sort::Status] {
        let order = order(sort);
        match decode(cursor, &order) {
            Err(problem) => must(problem.code == Code::InvalidCursor, || {
                format!("refused with {:?}", problem.code)
            })?,
            Ok(place) => {
                let is_sound = text::is_line(&place.key)
                    && place.key.chars().count() <= KEY_CHARS
                    && place.moment.is_some() == (sort == Sort::Status);
                must(is_sound, || format!("accepted {place:?}"))?;
                let again = decode(&encode(&order, place.clone()), &order).ok();
                must(again.as_ref() == Some(&place), || {
                    format!("{place:?} became {again:?}")
                })?;
            }
        }
    }
    Ok(())
}
