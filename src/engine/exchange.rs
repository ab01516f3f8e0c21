//! One HTTP request and what its handler can do about it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::survey::{Findings, Survey};
use super::vitals::Vitals;
use super::{Command, Shared, Transport, client};
use crate::backplane::Author;
use crate::backplane::channels::Dialect;
use crate::http::head::Request;
use crate::http::response::{Refusal, Response};
use crate::id::{ConnId, Identity};
use crate::ledger::snapshot::{Readings, Snapshot};
use crate::limits::Limits;
use crate::log::Kind;
use crate::metrics::Metrics;
use crate::proxy::networks::Hop;
use crate::room::join::JoinError;
use crate::room::log::Keep;
use crate::room::position::Start;
use crate::room::presence::Roster;
use crate::room::publish::{NotPublished, Post, Published, Ticket};
use crate::room::rooms::Rooms;
use crate::timer::Tick;
use crate::ws::message::Message;

/// A request that does not ask for WebSocket, whole with its body.
pub struct Exchange<'a> {
    pub(super) id: ConnId,
    pub(super) transport: &'a dyn Transport,
    pub(super) client: Option<&'a IpAddr>,
    pub(super) request: &'a Request<'a>,
    pub(super) body: &'a [u8],
    pub(super) has_waited: bool,
    pub(super) told: Option<Result<Published, NotPublished>>,
    pub(super) roster: Option<&'a Roster>,
    pub(super) found: Option<Findings>,
    pub(super) is_admin: bool,
    pub(super) reader: Identity,
    pub(super) expires: Tick,
    pub(super) shared: &'a mut Shared,
}

/// What answers a request.
#[derive(Debug)]
pub enum Reply {
    /// A response, now.
    Now(Response),
    /// None yet: the handler is asked again when something is published in the room, or when the time has run out.
    Wait {
        /// The room, which is made if there is none of this name.
        room: String,
        /// How long, at most.
        time: Duration,
    },
    /// None yet: the handler is asked again when the backplane has answered what it has published or asked, and finds the
    /// answer in [`Exchange::outcome`] or [`Exchange::roster`].
    Pending(Ticket),
    /// None yet: connections or rooms are looked through, some in each turn, and then the handler is asked again and finds
    /// what there is in [`Exchange::findings`]. Where too many look already, the answer is 503.
    Survey(Box<Survey>),
    /// What is published in a room, as server-sent events, until the client goes (HTML §9.2).
    Events {
        /// The room, which is made if there is none of this name.
        room: String,
        /// Where the reader starts.
        start: Start,
    },
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Reply::Now(response)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Reply::Now(refusal.into())
    }
}

impl<'a> Exchange<'a> {
    /// Names the connection the request came on.
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

    /// The request: method, path, headers.
    pub fn request(&self) -> &'a Request<'a> {
        self.request
    }

    /// The request's body, at most `body_bytes_max`; empty where there is none.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Whether this request has waited as long as it wanted to: it is to be answered now.
    pub fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Whether the server is about to end, so that nobody new is to be sent to it.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining
    }

    /// What has become of what this request has published, where that took the backplane's answer; and that there is no
    /// answer to what it has asked. The body is not there any more.
    pub fn outcome(&self) -> Option<Result<Published, NotPublished>> {
        self.told
    }

    /// Asks who is in a room, over all nodes: so many users at most, and one more if there is one, in the order of their
    /// names after `after`. The reply is then [`Reply::Pending`]; `None` where rooms are not shared, or the backplane
    /// cannot be asked.
    pub fn ask_who(&mut self, room: &str, after: &str, limit: usize) -> Option<Ticket> {
        self.shared.ask_who(room, (after, limit), self.id)
    }

    /// Who is in the room that this request has asked about.
    pub fn roster(&self) -> Option<&'a Roster> {
        self.roster
    }

    /// What has been found of what the request has had looked for, after [`Reply::Survey`]. The body is not there any more.
    pub fn findings(&mut self) -> Option<Findings> {
        self.found.take()
    }

    /// Whether the request came through a listener for those who run the server.
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// Says who reads the events with which this request is answered, so that they can be found by that.
    pub fn identify(&mut self, reader: Identity) {
        self.reader = reader;
    }

    /// Begins to end the server, gently, as [`Handle::drain`](crate::Handle::drain) does.
    pub fn drain(&mut self) {
        self.shared.commands.push_back(Command::Drain);
    }

    /// Whether an event of this kind is to be logged now; where it is not, it is counted, and told of later.
    pub fn admits(&mut self, kind: Kind) -> bool {
        self.shared.notes.throttle.admits(kind, self.shared.now_ms)
    }

    /// How the server is.
    pub fn vitals(&mut self) -> Vitals {
        self.shared.vitals()
    }

    /// Whether a room is shared with other nodes and not open yet. Then whatever is answered now is not sent: the handler
    /// is asked again when the room is open, or when that has taken too long.
    pub fn is_opening(&mut self, room: &str) -> bool {
        self.shared.ask_for(room)
    }

    /// Whether rooms are shared with other nodes.
    pub fn is_shared(&self) -> bool {
        self.shared.is_linked()
    }

    /// Whether who is in a room is known over all nodes.
    pub fn lists_together(&self) -> bool {
        self.shared.lists_together()
    }

    /// Whether what is published here reaches all nodes; where there are no others, it does.
    pub fn is_ready(&self) -> bool {
        self.shared.is_ready()
    }

    /// Why nobody new is to be sent to this server, in a line; `None` where it is ready. It is not when it is about to end,
    /// when a listener takes in nobody, when a turn took longer than `ready_lag_max` a moment ago, and when what is
    /// published does not reach all nodes.
    pub fn unready(&mut self) -> Option<&'static str> {
        self.shared.unready()
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.shared.now_ms
    }

    /// Ends the events with which this request is answered at a time given in milliseconds since 1970.
    pub fn expire_at(&mut self, unix_ms: u64) {
        self.expires = self.shared.tick_at(unix_ms);
    }

    /// Says how much history a room keeps from now on, which makes it if there is none of this name.
    ///
    /// # Errors
    /// [`JoinError`], for the name or the number of rooms.
    pub fn keep(&mut self, room: &str, keep: Keep) -> Result<(), JoinError> {
        self.shared.rooms.keep(room, keep)
    }

    /// Says how a room is spoken of on a Channels layer, if rooms are shared through one.
    pub fn speak(&mut self, room: &str, dialect: &Arc<Dialect>) {
        self.shared.speak(room, dialect);
    }

    /// Sends to every member of a room. What came with the same key before is not published again.
    ///
    /// # Errors
    /// [`NotPublished`]; after [`NotPublished::Pending`] the reply is [`Reply::Pending`].
    pub fn publish<'m>(
        &mut self,
        room: &str,
        message: impl Into<Message<'m>>,
        key: Option<&str>,
    ) -> Result<Published, NotPublished> {
        self.publish_for(room, message, key, None)
    }

    /// As [`Exchange::publish`], for a user whose name a worker on a Channels layer is told.
    ///
    /// # Errors
    /// As [`Exchange::publish`].
    pub fn publish_for<'m>(
        &mut self,
        room: &str,
        message: impl Into<Message<'m>>,
        key: Option<&str>,
        user: Option<&str>,
    ) -> Result<Published, NotPublished> {
        if self.shared.is_pressed() {
            return Err(NotPublished::Memory);
        }
        if self.shared.is_linked() {
            let sent = self.shared.publish_to_all(room, message.into(), (Author::Asking(self.id), user), key);
            return sent.and_then(|(ticket, _)| Err(NotPublished::Pending(ticket)));
        }
        // The room's members have to wait for the walk, too.
        if self.shared.rooms.is_crowded(room) && !self.shared.rooms.is_held() {
            return Err(NotPublished::Behind);
        }
        self.shared.publish(room, message.into(), Post { memberships: &[], key })
    }

    /// The rooms, to be asked.
    pub fn rooms(&mut self) -> &mut Rooms {
        &mut self.shared.rooms
    }

    /// The server's bounds.
    pub fn limits(&self) -> &Limits {
        &self.shared.rules.limits
    }

    /// The server's counts.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Says of which class a room is, as [`Context::classify`](super::Context::classify) does.
    pub fn classify(&mut self, room: &str, class: &str) {
        self.shared.rooms.classify(room, class);
    }

    /// How long deliveries take and what becomes of them, and how the loop is. It takes about a millisecond.
    pub fn ledger(&mut self) -> Snapshot {
        self.shared.ledger()
    }

    /// The same with all histograms.
    pub fn readings(&mut self) -> Readings {
        self.shared.readings()
    }
}
