//! Who is in a room: one entry for each user, over however many connections.

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
    /// Listed, and the others are told when the first connection of this name joins and the last one leaves.
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

/// The users of one room.
#[derive(Debug, Default)]
pub struct Roll {
    /// How many connections each user has.
    users: BTreeMap<Arc<str>, u32>,
    /// Whose a member's slot is.
    slots: HashMap<usize, Presence>,
}

impl Roll {
    /// A member is here; the notice that says so, if it is the first of its user and is to be announced.
    pub(super) fn enter(&mut self, slot: usize, presence: Presence) -> Option<String> {
        let user = presence.user()?.clone();
        let count = self.users.entry(user).or_default();
        *count += 1;
        let is_first = *count == 1;
        let notice = notice("join", &presence).filter(|_| is_first);
        self.slots.insert(slot, presence);
        notice
    }

    /// A member has gone; the notice that says so, if it was the last of its user and was announced.
    pub(super) fn go(&mut self, slot: usize) -> Option<String> {
        let presence = self.slots.remove(&slot)?;
        let user = presence.user()?;
        let count = self.users.get_mut(user)?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        self.users.remove(user);
        notice("leave", &presence)
    }

    /// The users in the order of their names after `after`, each with the number of its connections.
    pub fn users<'r>(&'r self, after: Option<&str>) -> impl Iterator<Item = (&'r str, u32)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.users.range::<str, _>((from, Unbounded)).map(|(user, count)| (&**user, *count))
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Bytes of memory taken up, about: names are shared with the connections that bear them.
    pub fn held(&self) -> usize {
        self.users.len() * 32 + self.slots.capacity() * 40
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

fn notice(what: &str, presence: &Presence) -> Option<String> {
    match presence {
        Presence::Announced(user) => Some(serde_json::json!({ what: &**user }).to_string()),
        Presence::Hidden | Presence::Listed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_one_entry_however_many_connections() {
        let mut roll = Roll::default();
        let announced = |name: &str| Presence::Announced(name.into());
        assert_eq!(roll.enter(0, announced("ann")).as_deref(), Some(r#"{"join":"ann"}"#));
        assert_eq!(roll.enter(1, announced("ann")), None);
        assert_eq!(roll.enter(2, Presence::Listed("bob".into())), None);
        assert_eq!(roll.enter(3, Presence::Hidden), None);
        assert_eq!(roll.users(None).collect::<Vec<_>>(), [("ann", 2), ("bob", 1)]);
        assert_eq!(roll.users(Some("ann")).collect::<Vec<_>>(), [("bob", 1)]);
        assert_eq!(roll.go(0), None);
        assert_eq!(roll.go(0), None, "a second time changes nothing");
        assert_eq!(roll.go(1).as_deref(), Some(r#"{"leave":"ann"}"#));
        assert_eq!((roll.go(2), roll.go(3), roll.len()), (None, None, 0));
    }
}
