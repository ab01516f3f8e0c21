//! What a token's claims say: times, a user, rights.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::is_user;
pub(super) use super::rights::Access;
use super::rights::{Right, RoomPattern};

/// A time in milliseconds since 1970, from seconds that may have a fraction (RFC 7519 §2).
pub(super) fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, &'static str> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds.saturating_mul(1000))),
            // A cast ends at the type's bounds: what is before 1970 is at 1970.
            (None, Some(seconds)) => Ok(Some((seconds * 1000.0) as u64)),
            (None, None) => Err("a time in the token is not a number"),
        },
        Some(_) => Err("a time in the token is not a number"),
    }
}

/// The user's name, which may be a number.
pub(super) fn user(claims: &Map<String, Value>, name: &str) -> Result<Arc<str>, &'static str> {
    let user = match claims.get(name) {
        Some(Value::String(user)) => user.clone(),
        Some(Value::Number(user)) => user.to_string(),
        _ => return Err("the token names no user"),
    };
    if is_user(&user) { Ok(user.into()) } else { Err("the token names no user") }
}

/// What the token calls itself, so that it can be told from the user's others (RFC 7519 §4.1.7). One that is no text, or
/// longer than a name may be, nobody could ask for.
pub(super) fn id(claims: &Map<String, Value>) -> Option<Arc<str>> {
    claims.get("jti").and_then(Value::as_str).filter(|id| is_user(id)).map(Into::into)
}

/// One element of the claim: rights in rooms, or a right in all rooms.
#[derive(Deserialize)]
#[serde(untagged)]
enum Element {
    Everywhere(Right),
    InRooms(InRooms),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InRooms {
    rooms: Vec<String>,
    rights: Vec<Right>,
}

/// The rights: `["join", …]` for all rooms, or `[{"rooms": ["news.*"], "rights": ["join"]}, …]`; `None` without the claim.
///
/// What cannot be understood is an error and no right: half of what was meant may be the more dangerous half.
pub(super) fn rights(claims: &Map<String, Value>, name: &str) -> Result<Option<Vec<Access>>, &'static str> {
    let unclear = "the token's rights cannot be read";
    let Some(value) = claims.get(name) else { return Ok(None) };
    let elements = Vec::<Element>::deserialize(value).map_err(|_| unclear)?;
    let access = |element: Element| {
        let (rooms, rights) = match element {
            Element::Everywhere(right) => (vec!["*".to_owned()], vec![right]),
            Element::InRooms(InRooms { rooms, rights }) => (rooms, rights),
        };
        let rooms: Result<_, _> = rooms.iter().map(|room| RoomPattern::parse(room)).collect();
        Ok(Access { rooms: rooms.map_err(|_| unclear)?, rights: rights.into_iter().collect() })
    };
    elements.into_iter().map(access).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Map<String, Value> {
        Map::from_iter([("x".to_owned(), value)])
    }

    #[test]
    fn times_are_whole_or_broken_and_never_overflow() {
        let rows = [
            (json!(0), Ok(Some(0))),
            (json!(1_763_719_200), Ok(Some(1_763_719_200_000))),
            (json!(1.5), Ok(Some(1500))),
            (json!(-5), Ok(Some(0))),
            (json!(1e300), Ok(Some(u64::MAX))),
            (json!(u64::MAX), Ok(Some(u64::MAX))),
            (json!("1763719200"), Err(())),
            (json!(null), Err(())),
            (json!([1]), Err(())),
        ];
        for (value, want) in rows {
            assert_eq!(time(&claims(value.clone()), "x").map_err(drop), want, "{value}");
        }
        assert_eq!(time(&claims(json!(1)), "y"), Ok(None));
    }

    #[test]
    fn users_are_names_or_numbers() {
        for (value, want) in
            [(json!("mary"), Some("mary")), (json!(17), Some("17")), (json!("小明"), Some("小明"))]
        {
            assert_eq!(user(&claims(value), "x").ok().as_deref(), want);
        }
        for value in
            [json!(""), json!(null), json!(["mary"]), json!(true), json!("a\nb"), json!("x".repeat(257))]
        {
            assert_eq!(user(&claims(value.clone()), "x"), Err("the token names no user"), "{value}");
        }
    }

    #[test]
    fn a_tokens_id_is_a_text_of_a_names_length() {
        let of = |value: Value| id(&Map::from_iter([("jti".to_owned(), value)]));
        assert_eq!(of(json!("4f1c")).as_deref(), Some("4f1c"));
        for value in [json!(17), json!(""), json!(null), json!("x".repeat(257)), json!("a\nb")] {
            assert_eq!(of(value.clone()), None, "{value}");
        }
        assert_eq!(id(&Map::new()), None);
    }

    #[test]
    fn rights_are_for_rooms_or_for_all_and_nothing_is_half_understood() {
        let allowed = |value: Value, right, room: &str| {
            let own = rights(&claims(value), "x").unwrap().unwrap();
            own.iter().any(|access| access.allows(right, room))
        };
        assert!(allowed(json!(["join"]), Right::Join, "any"));
        assert!(!allowed(json!(["join"]), Right::Publish, "any"));
        assert!(!allowed(json!([]), Right::Join, "any"));
        let news = json!([{ "rooms": ["news.*"], "rights": ["join"] }, { "rooms": ["lobby"], "rights": ["publish"] }]);
        assert!(allowed(news.clone(), Right::Join, "news.sport"));
        assert!(!allowed(news.clone(), Right::Publish, "news.sport"));
        assert!(allowed(news.clone(), Right::Publish, "lobby"));
        assert!(!allowed(news, Right::Join, "lobby"));
        assert_eq!(rights(&claims(json!(["join"])), "y"), Ok(None));
        for value in [
            json!("join"),
            json!(null),
            json!(["join", "fly"]),
            json!([{ "rooms": ["a*b"], "rights": ["join"] }]),
            json!([{ "rooms": ["a"] }]),
            json!([{ "rooms": ["a"], "rights": ["join"], "more": 1 }]),
        ] {
            assert!(rights(&claims(value.clone()), "x").is_err(), "{value}");
        }
    }
}
