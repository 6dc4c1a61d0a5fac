//! Cursors of the list as a client may make them up.

use chat_e2e::fuzz::{fuzz, must};
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::Cursor;

#[test]
fn a_hostile_cursor_is_refused_or_a_place_in_the_list() {
    let times = Timestamp::MIN.as_microsecond()..=Timestamp::MAX.as_microsecond();
    let valid = (times, any::<u128>()).prop_map(|(at, id)| {
        let cursor = Cursor {
            at: Timestamp::from_microsecond(at).expect("in range"),
            id: Uuid::from_u128(id),
        };
        cursor.to_string().into_bytes()
    });
    fuzz("conversation-cursors", valid, |cursor| {
        let Some(place) = Cursor::parse(&String::from_utf8_lossy(cursor)) else {
            return Ok(());
        };
        let again = Cursor::parse(&place.to_string()).map(|again| (again.at, again.id));
        must(again == Some((place.at, place.id)), || {
            format!("{place} became {again:?}")
        })
    });
}
