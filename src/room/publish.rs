//! How something is published, what comes of it, and why nothing does.

use std::fmt;

use super::join::{JoinError, Membership};
use super::position::Position;

/// A publication that has been appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it stands.
    pub position: Position,
    /// Whether the walk has fallen so far behind that the publisher had better wait.
    pub crowded: bool,
    /// Whether it had been published before, with the same key; then nothing was done.
    pub repeated: bool,
}

/// The number of a publication that is on its way through the backplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub(crate) u64);

/// Why something was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPublished {
    /// The room has no members, and keeps no history for later ones.
    Unheard,
    /// Sending to the members is a whole log's length behind: try again.
    Behind,
    /// The server is short of memory: try again.
    Memory,
    /// Another process is taking the rooms over: try again, and there.
    Moving,
    /// It is on its way through the backplane: what has become of it is said under this number.
    Pending(Ticket),
    /// The backplane has not answered in time, or takes no more: try again, with the same key where it has one.
    Away,
    /// The backplane refuses it, as one that is out of memory does: try again.
    Refused,
    /// The room cannot be opened.
    Room(JoinError),
}

impl NotPublished {
    /// One line that says why, fit to be sent to a client.
    pub fn reason(self) -> &'static str {
        match self {
            NotPublished::Unheard => "the room has no members and keeps no history",
            NotPublished::Behind => "the room is behind with what came before",
            NotPublished::Memory => "the server is short of memory",
            NotPublished::Moving => "another process is taking the room over",
            NotPublished::Pending(_) => "it is on its way",
            NotPublished::Away => "the backplane does not answer",
            NotPublished::Refused => "the backplane refuses it",
            NotPublished::Room(_) => "the room cannot be opened",
        }
    }
}

impl fmt::Display for NotPublished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotPublished::Room(error) => error.fmt(f),
            _ => f.write_str(self.reason()),
        }
    }
}

impl std::error::Error for NotPublished {}

/// How something is published, beyond the room and the message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Post<'p> {
    /// Where the author is a member; its place in the room is found among these.
    pub memberships: &'p [Membership],
    /// What was published with the same key before is not published again.
    pub key: Option<&'p str>,
}
