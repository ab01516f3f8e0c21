//! Who is in a room: one entry for each user, over however many connections.
//!
//! A user whose last connection has gone stays listed for a grace time: whoever comes back within it, as after a reload
//! of a page, has not been away. Where rooms are shared with other nodes the backplane gives that time, for all of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Whether a member is listed, and announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Only counted.
    #[default]
    Hidden,
    /// Listed under this name.
    Listed(Arc<str>),
    /// Listed, and the others are told when the first connection of this name joins, and when the last one has left.
    Announced(Arc<str>),
}

impl Presence {
    pub(super) fn user(&self) -> Option<&Arc<str>> {
        match self {
            Presence::Hidden => None,
            Presence::Listed(user) | Presence::Announced(user) => Some(user),
        }
    }
}

/// A user in a room.
#[derive(Debug)]
struct Attendance {
    connections: u32,
    /// Whether the others were told that it came, and so are told that it goes.
    is_announced: bool,
    /// When it is gone, unless it comes back before.
    until_ms: Option<u64>,
}

/// What has become of a user by one connection more or less.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) user: Arc<str>,
    /// Whether it is one more.
    pub(super) has_come: bool,
    /// How many connections it has now.
    pub(super) connections: u32,
    pub(super) is_announced: bool,
    /// When it would have been gone, had it not come back.
    pub(super) was_until_ms: Option<u64>,
}

/// The users of one room.
#[derive(Debug, Default)]
pub struct Roll {
    users: BTreeMap<Arc<str>, Attendance>,
    /// Whose a member's slot is.
    slots: HashMap<usize, Presence>,
}

impl Roll {
    /// A member is here; what that comes to, if it is listed.
    pub(super) fn enter(&mut self, slot: usize, presence: Presence) -> Option<Shift> {
        let user = presence.user()?.clone();
        let is_announced = matches!(presence, Presence::Announced(_));
        self.slots.insert(slot, presence);
        let new = Attendance { connections: 0, is_announced, until_ms: None };
        let attendance = self.users.entry(user.clone()).or_insert(new);
        attendance.connections += 1;
        let was_until_ms = attendance.until_ms.take();
        let (connections, is_announced) = (attendance.connections, attendance.is_announced);
        Some(Shift { user, has_come: true, connections, is_announced, was_until_ms })
    }

    /// A member has gone; what that comes to, if it was listed. Without connections a user stays listed until it is
    /// [released](Self::release).
    pub(super) fn go(&mut self, slot: usize) -> Option<Shift> {
        let presence = self.slots.remove(&slot)?;
        let user = presence.user()?.clone();
        let attendance = self.users.get_mut(&user)?;
        attendance.connections -= 1;
        let (connections, is_announced) = (attendance.connections, attendance.is_announced);
        Some(Shift { user, has_come: false, connections, is_announced, was_until_ms: None })
    }

    /// Keeps a user without connections until then.
    pub(super) fn keep(&mut self, user: &str, until_ms: u64) {
        if let Some(attendance) = self.users.get_mut(user) {
            attendance.until_ms = Some(until_ms);
        }
    }

    /// A user without connections goes, if it was kept until then and no longer; the notice that says so, if it was
    /// announced.
    pub(super) fn release(&mut self, user: &str, until_ms: Option<u64>) -> Option<String> {
        let is_over = |attendance: &Attendance| {
            attendance.connections == 0 && (until_ms.is_none() || attendance.until_ms == until_ms)
        };
        self.users.get(user).filter(|attendance| is_over(attendance))?;
        let attendance = self.users.remove(user)?;
        attendance.is_announced.then(|| notice("leave", user))
    }

    /// The users in the order of their names after `after`, each with the number of its connections; one that may come
    /// back has none.
    pub fn users<'r>(&'r self, after: Option<&str>) -> impl Iterator<Item = (&'r str, u32)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.users.range::<str, _>((from, Unbounded)).map(|(user, entry)| (&**user, entry.connections))
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Bytes of memory taken up, about: names are shared with the connections that bear them.
    pub fn held(&self) -> usize {
        self.users.len() * 56 + self.slots.capacity() * 40
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// What the others are told of a user.
pub(super) fn notice(what: &str, user: &str) -> String {
    serde_json::json!({ what: user }).to_string()
}

/// What is known of a room beyond this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Connections on other nodes that list somebody in the room.
    pub members: usize,
    /// Users listed, over all nodes.
    pub users: usize,
    /// Nodes that list somebody in the room, this one too if it does.
    pub nodes: usize,
}

/// A page of the users of a room, over all nodes, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Whether any node has opened the room of late.
    pub is_known: bool,
    /// How many there are of what.
    pub census: Census,
    /// Users, each with the number of its connections on all nodes; one more than was asked for, if there are more.
    pub users: Vec<(String, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(name: &str) -> Presence {
        Presence::Announced(name.into())
    }

    #[test]
    fn a_user_is_one_entry_however_many_connections() {
        let mut roll = Roll::default();
        let mut enter = |slot, presence| roll.enter(slot, presence).map(|shift| shift.connections);
        assert_eq!(enter(0, announced("ann")), Some(1));
        assert_eq!(enter(1, announced("ann")), Some(2));
        assert_eq!(enter(2, Presence::Listed("bob".into())), Some(1));
        assert_eq!(enter(3, Presence::Hidden), None);
        assert_eq!(roll.users(None).collect::<Vec<_>>(), [("ann", 2), ("bob", 1)]);
        assert_eq!(roll.users(Some("ann")).collect::<Vec<_>>(), [("bob", 1)]);
        assert_eq!(roll.go(0).map(|shift| shift.connections), Some(1));
        assert_eq!(roll.go(0), None, "a second time changes nothing");
        assert_eq!(roll.release("ann", None), None, "somebody is still there");
        assert_eq!(roll.go(1).map(|shift| (shift.connections, shift.is_announced)), Some((0, true)));
        assert_eq!(roll.release("ann", None).as_deref(), Some(r#"{"leave":"ann"}"#));
        assert!(roll.go(2).is_some_and(|shift| !shift.is_announced));
        assert_eq!((roll.release("bob", None), roll.go(3), roll.len()), (None, None, 0));
    }

    #[test]
    fn row_51_who_comes_back_within_the_grace_time_has_not_been_away() {
        let mut roll = Roll::default();
        roll.enter(0, announced("ann"));
        roll.go(0);
        roll.keep("ann", 500);
        assert_eq!(roll.users(None).collect::<Vec<_>>(), [("ann", 0)]);
        let back = roll.enter(0, announced("ann")).unwrap();
        assert_eq!((back.connections, back.was_until_ms), (1, Some(500)));
        assert_eq!(roll.release("ann", Some(500)), None, "it is there");
        roll.go(0);
        roll.keep("ann", 900);
        assert_eq!(roll.release("ann", Some(500)), None, "that was another time");
        assert_eq!(roll.release("ann", Some(900)).as_deref(), Some(r#"{"leave":"ann"}"#));
        assert!(roll.is_empty());
    }
}
