//! Where the next page of a list begins. Opaque to clients, but no secret: it
//! is checked like any other input.

#[cfg(test)]
mod fuzz;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chat_events::{Code, text};
use chat_kit::Problem;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::order::{Order, Sort};

/// A longer one was not made by us.
const CURSOR: usize = 2_048;
const KEY_CHARS: usize = 256;

/// The last user of the page before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The user name in lower case.
    pub key: String,
    pub id: Uuid,
    /// Only in lists by status.
    pub moment: Option<Moment>,
}

/// The statuses by which a list is sorted are those of the directory version at
/// which its first page was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    pub version: i64,
    /// What the last user of the page before was then.
    pub online: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    order: Order,
    after: Position,
}

pub fn encode(order: &Order, after: Position) -> String {
    let cursor = Cursor {
        order: order.clone(),
        after,
    };
    // Plain structures always become JSON.
    BASE64.encode(serde_json::to_vec(&cursor).unwrap_or_default())
}

pub fn decode(text: &str, order: &Order) -> Result<Position, Problem> {
    read(text)
        .filter(|cursor| cursor.order == *order && is_sound(cursor))
        .map(|cursor| cursor.after)
        .ok_or_else(|| Code::InvalidCursor.into())
}

fn read(text: &str) -> Option<Cursor> {
    if text.len() > CURSOR {
        return None;
    }
    serde_json::from_slice(&BASE64.decode(text).ok()?).ok()
}

fn is_sound(cursor: &Cursor) -> bool {
    let after = &cursor.after;
    text::is_line(&after.key)
        && after.key.chars().count() <= KEY_CHARS
        && after.moment.is_some() == (cursor.order.sort == Sort::Status)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use uuid::Uuid;

    use super::{BASE64, Moment, Position, decode, encode};
    use crate::users::order::{Direction, Order, Sort};

    fn order(sort: Sort) -> Order {
        Order {
            sort,
            direction: Direction::Asc,
            prefix: Some("ab".into()),
            username: None,
        }
    }

    fn position(moment: Option<Moment>) -> Position {
        Position {
            key: "abel".into(),
            id: Uuid::now_v7(),
            moment,
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_position() {
        let (order, after) = (order(Sort::Username), position(None));
        let cursor = encode(&order, after.clone());
        assert_eq!(decode(&cursor, &order).ok(), Some(after));
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = encode(&order(Sort::Username), position(None));
        let mut other = order(Sort::Username);
        other.prefix = None;
        assert!(decode(&cursor, &other).is_err());
        assert!(decode(&cursor, &order(Sort::Status)).is_err());
    }

    #[test]
    fn a_made_up_cursor_is_refused() {
        let by_name = order(Sort::Username);
        let moment = Some(Moment {
            version: 1,
            online: true,
        });
        let mut control = position(None);
        control.key = "a\0".into();
        for bad in [
            String::new(),
            "x".into(),
            "=".repeat(9_000),
            BASE64.encode("{}"),
            BASE64.encode([0xff, 0xfe]),
            encode(&by_name, position(moment)),
            encode(&by_name, control),
        ] {
            assert!(decode(&bad, &by_name).is_err(), "{bad}");
        }
    }
}
