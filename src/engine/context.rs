//! What a handler can do for the connection it is called for, and for its rooms.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::vitals::Vitals;
use super::{Command, Shared, Transport, client};
use crate::backplane::Author;
use crate::backplane::channels::Dialect;
use crate::id::ConnId;
use crate::ledger::snapshot::Snapshot;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::proxy::networks::Hop;
use crate::room::join::{Join, JoinError, Joined, Membership};
use crate::room::log::{Keep, Lag};
use crate::room::position::Position;
use crate::room::publish::{NotPublished, Post, Published};
use crate::spare::Spares;
use crate::timer::Tick;
use crate::ws::close::{CloseCode, CloseReason, InvalidClose};
use crate::ws::extension::DeflateParams;
use crate::ws::frame::Opcode;
use crate::ws::message::{Message, OwnedMessage};

/// Why a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection has been closed, by whichever side.
    Closed,
    /// The peer reads too slowly: `outbound_bytes_max` would wait for it.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Closed => "the connection is closed",
            SendError::Full => "too much waits to be sent",
        })
    }
}

impl std::error::Error for SendError {}

/// The connection a handler is called for. Nothing leaves before the handler has returned.
pub struct Context<'a> {
    pub(super) id: ConnId,
    pub(super) transport: &'a dyn Transport,
    pub(super) client: Option<&'a IpAddr>,
    pub(super) outbound: &'a mut Outbound,
    pub(super) memberships: &'a mut Vec<Membership>,
    pub(super) deflate: Option<DeflateParams>,
    /// Whether the connection is open; a handler that closes it ends that at once.
    pub(super) open: bool,
    pub(super) closing: Option<CloseReason>,
    pub(super) crowded: bool,
    /// Whether it has joined a room that has something for it already.
    pub(super) behind: bool,
    pub(super) expires: Option<Tick>,
    pub(super) shared: &'a mut Shared,
}

impl Context<'_> {
    /// Names this connection, also for other threads.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The address of the other end: the client's, or a proxy's; `None` for a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.transport.peer_addr()
    }

    /// Who is directly at the other end, also where it has no address.
    pub fn hop(&self) -> Hop {
        self.transport.hop()
    }

    /// The client's address: what proxies say where they are trusted, and otherwise that of the other end.
    ///
    /// `None` where the other end is a Unix socket's, and nobody who is trusted names the client.
    pub fn client_addr(&self) -> Option<IpAddr> {
        client::addr(self.transport, self.client)
    }

    /// Sends to this connection alone.
    ///
    /// # Errors
    /// [`SendError::Closed`] once the connection is closed, [`SendError::Full`] where too much waits already.
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> Result<(), SendError> {
        let message = message.into();
        if !self.open {
            return Err(SendError::Closed);
        }
        if self.outbound.len() + message.len() > self.shared.rules.limits.outbound_bytes_max {
            self.shared.metrics.replies_refused.add(1);
            return Err(SendError::Full);
        }
        let opcode = match message {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        };
        let payload = message.as_bytes();
        let params = self.deflate.filter(|_| self.shared.rules.limits.deflates(payload.len()));
        let compressed = params.and_then(|params| self.shared.deflater.deflate(params, payload));
        let (is_compressed, payload) = (compressed.is_some(), compressed.unwrap_or(payload));
        if payload.len() >= Spares::LONG {
            self.outbound.make_room(payload.len(), &mut self.shared.spares);
        }
        self.outbound.push_message(opcode, is_compressed, payload);
        self.shared.deflater.trim(self.shared.rules.limits.outbound_bytes_low);
        self.shared.metrics.replies.add(1);
        Ok(())
    }

    /// Begins the closing handshake, after everything sent and published so far.
    ///
    /// # Errors
    /// [`InvalidClose`] where the code may not be sent (RFC 6455 §7.4) or the reason is over 123 bytes.
    pub fn close(&mut self, code: u16, reason: &str) -> Result<(), InvalidClose> {
        let reason = CloseReason::new(CloseCode::new(code)?, reason)?;
        if self.open {
            self.open = false;
            self.closing = Some(reason);
        }
        Ok(())
    }

    /// Joins a room; from now on what is published to it is sent to this connection. Joining again changes nothing.
    ///
    /// # Errors
    /// [`JoinError`], where the name does not do or there are too many rooms.
    pub fn join(&mut self, room: &str) -> Result<(), JoinError> {
        if self.open && self.membership(room).is_some() {
            return Ok(());
        }
        self.join_as(room, &Join::default()).map(drop)
    }

    /// Joins a room with a say in where it starts, in which encoding, and whether it is listed; joining again is joining
    /// anew, as said now.
    ///
    /// What the start asks for is sent right after what has been sent in this call of the handler; what is published
    /// from then on follows without a gap and without a double.
    ///
    /// # Errors
    /// [`JoinError`], where the name does not do or there are too many rooms.
    pub fn join_as(&mut self, room: &str, join: &Join) -> Result<Joined, JoinError> {
        if !self.open {
            return Err(JoinError::Closed);
        }
        self.leave(room);
        if self.memberships.len() >= self.shared.rules.limits.rooms_per_connection_max {
            return Err(JoinError::TooManyMemberships);
        }
        let joined = self.shared.rooms.join(room, self.id, join, self.deflate);
        if joined == Err(JoinError::Opening) {
            self.shared.ask_for(room);
        }
        let (membership, joined) = joined?;
        // Most connections are in one room: no more is reserved than that.
        self.memberships.reserve_exact(1);
        self.memberships.push(membership);
        self.behind |= joined.is_behind;
        Ok(joined)
    }

    /// Says how much history a room keeps from now on, which makes it if there is none of this name.
    ///
    /// # Errors
    /// [`JoinError`], for the name or the number of rooms.
    pub fn keep(&mut self, room: &str, keep: Keep) -> Result<(), JoinError> {
        self.shared.rooms.keep(room, keep)
    }

    /// Says what happens to slow members of a room, if there is one of this name.
    pub fn set_lag(&mut self, room: &str, lag: Lag) {
        self.shared.rooms.set_lag(room, lag);
    }

    /// Says how a room is spoken of on a Channels layer, if rooms are shared through one.
    pub fn speak(&mut self, room: &str, dialect: &Arc<Dialect>) {
        self.shared.speak(room, dialect);
    }

    /// Says of which class a room is, if there is one of this name: classes are measured each by itself, so they are few,
    /// such as the paths by which rooms are reached.
    pub fn classify(&mut self, room: &str, class: &str) {
        self.shared.rooms.classify(room, class);
    }

    /// Closes this connection with 4401 at a time given in milliseconds since 1970, unless it is set anew before.
    pub fn expire_at(&mut self, unix_ms: u64) {
        self.expires = Some(self.shared.tick_at(unix_ms));
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.shared.now_ms
    }

    /// Leaves a room; says whether this connection was in it.
    pub fn leave(&mut self, room: &str) -> bool {
        let Some(at) = self.membership(room) else { return false };
        self.shared.rooms.leave(self.memberships.swap_remove(at));
        true
    }

    /// The rooms this connection is in.
    pub fn rooms(&self) -> impl Iterator<Item = Arc<str>> {
        self.memberships.iter().filter_map(|membership| self.shared.rooms.name(*membership))
    }

    /// How many members a room has.
    pub fn members(&self, room: &str) -> usize {
        self.shared.rooms.members(room)
    }

    /// Sends to every member of a room, this connection too if it is one, and returns the position it was given.
    ///
    /// `None` where it was not published: the room has no members, or sending to them is a whole log's length behind.
    /// The latter does not happen to who is a member, since a member is not read while its room is behind.
    ///
    /// Where rooms are shared with other nodes, it is `None` also where it is on its way: nobody knows the position yet.
    pub fn publish<'m>(&mut self, room: &str, message: impl Into<Message<'m>>) -> Option<Position> {
        if self.shared.is_linked() {
            let _ = self.publish_to_all(room, message.into(), (Author::Silent(self.id), None), None);
            return None;
        }
        self.publish_once(room, message, None).ok().map(|published| published.position)
    }

    /// As [`Context::publish`]; what came with the same key before is not published again.
    ///
    /// # Errors
    /// [`NotPublished`]; where rooms are shared with other nodes, [`NotPublished::Pending`] has the number under which
    /// [`Handler::published`](super::handler::Handler::published) is told what has become of it.
    pub fn publish_once<'m>(
        &mut self,
        room: &str,
        message: impl Into<Message<'m>>,
        key: Option<&str>,
    ) -> Result<Published, NotPublished> {
        self.publish_for(room, message, key, None)
    }

    /// As [`Context::publish_once`], for a user whose name a worker on a Channels layer is told.
    ///
    /// # Errors
    /// As [`Context::publish_once`].
    pub fn publish_for<'m>(
        &mut self,
        room: &str,
        message: impl Into<Message<'m>>,
        key: Option<&str>,
        user: Option<&str>,
    ) -> Result<Published, NotPublished> {
        if self.shared.is_linked() {
            return self.publish_to_all(room, message.into(), (Author::Asking(self.id), user), key);
        }
        let post = Post { memberships: self.memberships, key };
        let published = self.shared.publish(room, message.into(), post)?;
        if published.crowded && !self.crowded {
            self.crowded = true;
            self.shared.rooms.wait_for(room, self.id, true);
        } else {
            self.wait_for_memory();
        }
        Ok(published)
    }

    fn publish_to_all(
        &mut self,
        room: &str,
        message: Message<'_>,
        author: (Author, Option<&str>),
        key: Option<&str>,
    ) -> Result<Published, NotPublished> {
        let (ticket, crowded) = self.shared.publish_to_all(room, message, author, key)?;
        if crowded && !self.crowded {
            self.crowded = true;
            self.shared.hold(self.id);
        } else {
            self.wait_for_memory();
        }
        Err(NotPublished::Pending(ticket))
    }

    /// Who publishes while memory is short is not read for a while.
    #[inline]
    fn wait_for_memory(&mut self) {
        if self.shared.is_pressed() && !self.crowded {
            self.crowded = true;
            self.shared.budget.held.push(self.id);
        }
    }

    /// Sends to another connection, once this handler has returned; without effect if it has ended by then.
    pub fn send_to(&mut self, id: ConnId, message: impl Into<OwnedMessage>) {
        self.shared.commands.push_back(Command::Send(id, message.into()));
    }

    /// Closes another connection, once this handler has returned.
    ///
    /// # Errors
    /// As [`Context::close`].
    pub fn close_other(&mut self, id: ConnId, code: u16, reason: &str) -> Result<(), InvalidClose> {
        let reason = CloseReason::new(CloseCode::new(code)?, reason)?;
        self.shared.commands.push_back(Command::Close(id, reason));
        Ok(())
    }

    /// How the server is.
    pub fn vitals(&mut self) -> Vitals {
        self.shared.vitals()
    }

    /// The server's bounds.
    pub fn limits(&self) -> &Limits {
        &self.shared.rules.limits
    }

    /// The server's counts.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// How long deliveries take and what becomes of them, and how the loop is. It takes about a millisecond.
    pub fn ledger(&mut self) -> Snapshot {
        self.shared.ledger()
    }

    fn membership(&self, room: &str) -> Option<usize> {
        self.memberships.iter().position(|membership| self.shared.rooms.is_in(*membership, room))
    }
}
