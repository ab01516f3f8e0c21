//! Rights: what may be done in which rooms, and by whom.

use std::fmt;

use serde::Deserialize;

/// What one may do in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Join it, and read what is published in it.
    Join,
    /// Publish in it.
    Publish,
    /// See who is in it.
    Presence,
}

impl Right {
    /// Every right there is.
    pub const ALL: [Right; 3] = [Right::Join, Right::Publish, Right::Presence];

    /// The right of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Right::Join => "join",
            Right::Publish => "publish",
            Right::Presence => "presence",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Right::Join => 1,
            Right::Publish => 2,
            Right::Presence => 4,
        }
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Whether the right is among them.
    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Rights(rights.into_iter().fold(0, |bits, right| bits | right.bit()))
    }
}

/// A room by its name, or all rooms whose names begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoomPattern {
    /// The room of this name.
    Exact(String),
    /// The rooms whose names begin with this.
    Prefix(String),
}

/// A text that names no rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRoomPattern;

impl fmt::Display for InvalidRoomPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a room's name, nor the beginning of names with a * at its end")
    }
}

impl std::error::Error for InvalidRoomPattern {}

impl RoomPattern {
    /// Reads `lobby`, `news.*` or `*`.
    ///
    /// # Errors
    /// [`InvalidRoomPattern`] where it is empty, or has a `*` anywhere but at its end.
    pub fn parse(text: &str) -> Result<Self, InvalidRoomPattern> {
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        match (name.is_empty() && !is_prefix) || name.contains('*') {
            true => Err(InvalidRoomPattern),
            false if is_prefix => Ok(RoomPattern::Prefix(name.to_owned())),
            false => Ok(RoomPattern::Exact(name.to_owned())),
        }
    }

    /// Whether a room is meant.
    pub fn matches(&self, room: &str) -> bool {
        match self {
            RoomPattern::Exact(name) => name == room,
            RoomPattern::Prefix(prefix) => room.starts_with(prefix.as_str()),
        }
    }
}

/// Rights in some rooms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The rooms.
    pub rooms: Vec<RoomPattern>,
    /// What may be done there.
    pub rights: Rights,
}

impl Access {
    /// Whether this allows it.
    pub fn allows(&self, right: Right, room: &str) -> bool {
        self.rights.has(right) && self.rooms.iter().any(|pattern| pattern.matches(room))
    }
}

/// Rights in some rooms for some users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The users' names; `*` is everybody who is let in, also without a name.
    pub users: Vec<String>,
    /// What they may do where.
    pub access: Access,
}

impl Grant {
    /// Whether this allows it to this user.
    pub fn allows(&self, user: Option<&str>, right: Right, room: &str) -> bool {
        self.names(user) && self.access.allows(right, room)
    }

    /// Whether it is for this user.
    pub fn names(&self, user: Option<&str>) -> bool {
        let is_named = |name: &String| name == "*" || Some(name.as_str()) == user;
        self.users.iter().any(is_named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_rooms_a_pattern_means() {
        let rows = [
            ("lobby", "lobby", true),
            ("lobby", "lobby2", false),
            ("lobby", "", false),
            ("news.*", "news.", true),
            ("news.*", "news.sport", true),
            ("news.*", "news", false),
            ("news.*", "old news.", false),
            ("*", "anything/at all", true),
            ("房*", "房间", true),
        ];
        for (pattern, room, want) in rows {
            assert_eq!(RoomPattern::parse(pattern).unwrap().matches(room), want, "{pattern} {room}");
        }
        for text in ["", "**", "a*b", "*a", "a**"] {
            assert_eq!(RoomPattern::parse(text), Err(InvalidRoomPattern), "{text}");
        }
    }

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        for bits in 0..8u8 {
            let chosen = |right: &Right| bits & right.bit() != 0;
            let rights: Rights = Right::ALL.into_iter().filter(chosen).collect();
            for right in Right::ALL {
                assert_eq!(rights.has(right), chosen(&right), "{bits} {right:?}");
            }
        }
    }

    #[test]
    fn a_grant_is_for_its_users_and_a_star_for_those_without_a_name_too() {
        let rooms = vec![RoomPattern::Exact("lobby".into())];
        let access = Access { rooms, rights: [Right::Join].into_iter().collect() };
        let named = Grant { users: vec!["mary".into()], access: access.clone() };
        let all = Grant { users: vec!["*".into()], access };
        assert!(named.allows(Some("mary"), Right::Join, "lobby"));
        assert!(!named.allows(Some("mary"), Right::Publish, "lobby"));
        assert!(!named.allows(Some("mary"), Right::Join, "other"));
        assert!(!named.allows(Some("Mary"), Right::Join, "lobby"));
        assert!(!named.allows(None, Right::Join, "lobby"));
        assert!(all.allows(Some("john"), Right::Join, "lobby") && all.allows(None, Right::Join, "lobby"));
    }
}
