//! One change to an input: of its bytes, or of its structure if it is JSON.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub(super) enum Change {
    Flip(Index, u8),
    Cut(Index, usize),
    Insert(Index, Vec<u8>),
    /// A part of it again, so many times.
    Repeat(Index, usize, usize),
    /// A value of the JSON is another one.
    Put(Index, Value),
    Remove(Index),
    Add(Index, String, Value),
    /// A member of the outermost object is there twice.
    Twice(Index, Value),
}

pub(super) fn any() -> impl Strategy<Value = Change> {
    let at = || proptest::prelude::any::<Index>();
    let key = prop_oneof![
        prop::sample::select(KEYS).prop_map(str::to_owned),
        ".{0,8}".prop_map(|key| key),
    ];
    prop_oneof![
        1 => (at(), 1_u8..).prop_map(|(at, with)| Change::Flip(at, with)),
        1 => (at(), 1_usize..64).prop_map(|(at, length)| Change::Cut(at, length)),
        1 => (at(), splinter()).prop_map(|(at, what)| Change::Insert(at, what)),
        1 => (at(), 1_usize..32, 1_usize..200)
            .prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        4 => (at(), value()).prop_map(|(at, value)| Change::Put(at, value)),
        1 => at().prop_map(Change::Remove),
        1 => (at(), key, value()).prop_map(|(at, key, value)| Change::Add(at, key, value)),
        1 => (at(), value()).prop_map(|(at, value)| Change::Twice(at, value)),
    ]
}

const KEYS: &[&str] = &[
    "id",
    "type",
    "seq",
    "role",
    "v",
    "user_id",
    "sender_id",
    "is_admin",
    "$type",
    "__proto__",
];

fn splinter() -> impl Strategy<Value = Vec<u8>> {
    let known: &[&[u8]] = &[
        b"\"",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b".",
        b"-",
        b"\0",
        b"\n",
        b"\r\n",
        b"\\u0000",
        b"\\ud800",
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xae",
        b"1e999",
        b"NaN",
        b"null",
        b"99999999999999999999",
        b"%00",
        b"=",
        b"_",
        b"&limit=",
        b"' or 1=1 --",
    ];
    prop_oneof![
        prop::sample::select(known).prop_map(<[u8]>::to_vec),
        prop::collection::vec(proptest::prelude::any::<u8>(), 1..8),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let deep = |depth: usize| (0..depth).fold(json!(0), |inner, _| json!([inner]));
    let known = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(0.5),
        json!(1e308),
        json!(i64::MIN),
        json!(i64::MAX),
        json!(u64::MAX),
        json!({}),
        json!([]),
        json!(""),
        json!(" "),
        json!("\0"),
        json!("\u{202e}"),
        json!("\u{200b}"),
        json!("x".repeat(4_000)),
        json!("é".repeat(4_001)),
        json!("x".repeat(20_000)),
        json!("00000000-0000-0000-0000-000000000000"),
        json!("ffffffff-ffff-ffff-ffff-ffffffffffff"),
        json!("01890000-0000-7000-8000-000000000000"),
        json!("-009999-01-02T01:59:59Z"),
        json!("9999-12-30T22:00:00.999999999Z"),
        json!("2026-06-30T23:59:60Z"),
        json!("2026-01-01T00:00:00+26:00"),
        deep(10),
        deep(120),
        deep(200),
    ];
    prop_oneof![
        3 => prop::sample::select(known),
        1 => proptest::prelude::any::<i64>().prop_map(Value::from),
        1 => ".{0,40}".prop_map(Value::from),
    ]
}

impl Change {
    /// The changed input; the same one where the change does not fit.
    pub fn of(&self, input: &[u8]) -> Vec<u8> {
        let place = |at: &Index| at.index(input.len().max(1)).min(input.len());
        match self {
            Self::Flip(at, with) => {
                let mut bytes = input.to_vec();
                if let Some(byte) = bytes.get_mut(place(at)) {
                    *byte ^= with;
                }
                bytes
            }
            Self::Cut(at, length) => {
                let end = (place(at) + length).min(input.len());
                [&input[..place(at)], &input[end..]].concat()
            }
            Self::Insert(at, what) => {
                let (before, after) = input.split_at(place(at));
                [before, what, after].concat()
            }
            Self::Repeat(at, length, times) => {
                let (before, after) = input.split_at(place(at));
                let again = &after[..after.len().min(*length)];
                [before, &again.repeat(*times), after].concat()
            }
            Self::Put(at, value) => with(input, |json| {
                if let Some(place) = nth(json, at) {
                    *place = value.clone();
                }
            }),
            Self::Remove(at) => with(input, |json| {
                if let Some(Value::Object(members)) = nth(json, at)
                    && let Some(key) = members.keys().next().cloned()
                {
                    members.remove(&key);
                }
            }),
            Self::Add(at, key, value) => with(input, |json| match nth(json, at) {
                Some(Value::Object(members)) => {
                    members.insert(key.clone(), value.clone());
                }
                Some(Value::Array(items)) => items.push(value.clone()),
                _ => {}
            }),
            Self::Twice(at, value) => twice(input, at, value).unwrap_or_else(|| input.to_vec()),
        }
    }
}

fn with(input: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let Ok(mut json) = serde_json::from_slice(input) else {
        return input.to_vec();
    };
    change(&mut json);
    json.to_string().into_bytes()
}

/// One of all values of the JSON, the outermost included.
fn nth<'a>(json: &'a mut Value, at: &Index) -> Option<&'a mut Value> {
    fn count(json: &Value) -> usize {
        1 + match json {
            Value::Array(items) => items.iter().map(count).sum(),
            Value::Object(members) => members.values().map(count).sum(),
            _ => 0,
        }
    }
    fn find<'a>(json: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
        if *left == 0 {
            return Some(json);
        }
        *left -= 1;
        match json {
            Value::Array(items) => items.iter_mut().find_map(|item| find(item, left)),
            Value::Object(members) => members.values_mut().find_map(|item| find(item, left)),
            _ => None,
        }
    }
    let mut left = at.index(count(json));
    find(json, &mut left)
}

fn twice(input: &[u8], at: &Index, value: &Value) -> Option<Vec<u8>> {
    let json: Value = serde_json::from_slice(input).ok()?;
    let members = json.as_object().filter(|members| !members.is_empty())?;
    let key = members.keys().nth(at.index(members.len()))?;
    let text = json.to_string();
    let rest = text.strip_prefix('{')?;
    Some(format!("{{{}:{value},{rest}", Value::from(key.as_str())).into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::any;

    proptest! {
        #[test]
        fn every_change_fits_every_input(input: Vec<u8>, change in any()) {
            change.of(&input);
            change.of(json!({ "a": [1, { "b": null }], "c": "text" }).to_string().as_bytes());
        }
    }
}
