//! What the backplane has for its node.

use std::sync::Arc;

use bytes::Bytes;

use crate::id::ConnId;
use crate::room::lineage::Lineage;
use crate::room::position::Position;
use crate::room::presence::{Census, Roster};
use crate::room::publish::{NotPublished, Published, Ticket};

/// What a publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// Bytes.
    Binary,
    /// What a server has to say.
    Notice,
}

/// What the backplane has for its node.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// A room goes on after this position: it has just been opened, or what came before is lost. Its epoch may go on
    /// from earlier ones.
    Begin(Arc<str>, Position, Lineage),
    /// A room goes on where it is, under another epoch.
    Renamed(Arc<str>, u64, Lineage),
    /// The next publication of a room.
    Append {
        /// The room.
        room: Arc<str>,
        /// When it was published, in milliseconds since 1970.
        time_ms: u64,
        /// What it is.
        kind: Kind,
        /// The connection that published it, if it is one of this node.
        author: Option<ConnId>,
        /// The message.
        payload: Bytes,
    },
    /// A room has what there was when it was opened.
    Ready(Arc<str>),
    /// What has become of a publication, for the connection that waits to be told.
    Answered(ConnId, Ticket, Result<Published, NotPublished>),
    /// What the node publishes for itself alone has come back, after so many milliseconds.
    WentRound(u64),
    /// What is known of a room beyond this node, as far as it has changed.
    Counted(Arc<str>, Census),
    /// Who is in a room, for the connection that waits for it; nothing where Redis does not say.
    Listed(ConnId, Option<Box<Roster>>),
}
