//! What the engine can be asked for from outside a connection's own handling.

use crate::http::response::Response;
use crate::id::ConnId;
use crate::room::log::Keep;
use crate::ws::close::CloseReason;
use crate::ws::message::OwnedMessage;

/// A request to the engine that concerns a connection other than the one being handled, or none.
#[derive(Debug)]
pub enum Command {
    /// Publish to a room.
    Publish(String, OwnedMessage),
    /// Open a room, if there is none of this name, and say how much history it keeps.
    Keep(String, Keep),
    /// Send to one connection; without effect once it has ended.
    Send(ConnId, OwnedMessage),
    /// Close one connection.
    Close(ConnId, CloseReason),
    /// Let a deferred client in.
    Admit(ConnId),
    /// Turn a deferred client away.
    Refuse(ConnId, Response),
    /// Begin to end, gently.
    Drain,
}
