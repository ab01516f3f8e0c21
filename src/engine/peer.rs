//! One connection as the engine keeps it.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};

use super::addresses::Counted;
use super::pressure::Holding;
use crate::conn::{Conn, Stage};
use crate::id::ConnId;
use crate::limits::Limits;
use crate::outbound::Outbound;
use crate::proxy::forwarded::Announced;
use crate::proxy::networks::Hop;
use crate::room::join::Membership;
use crate::timer::Tick;

/// What carries bytes to and from a peer, without blocking.
pub trait Transport: Read + Write {
    /// Ends the outgoing side: the peer reads the end after everything that was written.
    ///
    /// # Errors
    /// What the socket says.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// The address of the other end, where it has one.
    fn peer_addr(&self) -> Option<SocketAddr>;

    /// Bytes of memory that it takes up itself, about, as an encrypting one does.
    fn held(&self) -> usize {
        0
    }

    /// Who the other end is, also where it has no address.
    fn hop(&self) -> Hop {
        self.peer_addr().into()
    }

    /// What a PROXY header has said of the client behind the other end.
    fn announced(&self) -> Announced {
        Announced::Nothing
    }

    /// The transport takes bytes again: sends what it has accepted and kept itself, as an encrypting one does.
    ///
    /// # Errors
    /// What the socket says.
    fn resume(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection: what it has sent us, what we owe it, and when it is due. Idle, it holds no buffer.
pub(super) struct Peer<T, S> {
    pub(super) transport: T,
    pub(super) conn: Conn,
    pub(super) outbound: Outbound,
    pub(super) memberships: Vec<Membership>,
    /// What the handler keeps; there exactly while the WebSocket is open.
    pub(super) state: Option<S>,
    /// Input that had been read when the connection had to stop reading.
    pub(super) unread: Vec<u8>,
    /// Whom its latest request came from, where a trusted proxy names somebody.
    pub(super) client: Option<Box<IpAddr>>,
    pub(super) id: ConnId,
    /// What it was last known to take up: what comes, what goes, and the transport.
    pub(super) charged: Holding,
    /// Its place in the count of its client's connections, while there is a cap on them.
    pub(super) counted: Option<Counted>,
    /// Its PROXY header has still to come.
    pub(super) awaited: bool,
    /// There was no place for it: it has been told so, and lingers.
    pub(super) refused: bool,
    /// It came through a listener for those who run the server.
    pub(super) is_admin: bool,
    /// When it came.
    pub(super) opened: Tick,
    /// When the last byte came, or left.
    pub(super) seen: Tick,
    /// When this phase, or the wait for a pong, began.
    pub(super) since: Tick,
    /// When it is closed whatever happens: what it proved to come in is good until then.
    pub(super) expires: Tick,
    /// When it is closed unless it has sent a message; never, once it has.
    pub(super) first_by: Tick,
    /// Under which tick the wheel holds it.
    pub(super) filed: Tick,
    /// An edge has announced input, and no read has found the end of it.
    pub(super) readable: bool,
    /// The socket takes bytes, as far as is known.
    pub(super) writable: bool,
    /// The socket was full and takes bytes again. So its peer has taken some; one that is not full takes them for the dead.
    pub(super) drained: bool,
    /// The peer has closed its side: reading goes on to the end.
    pub(super) hung_up: bool,
    /// The end of the input has been read.
    pub(super) ended: bool,
    /// Our side has been shut down.
    pub(super) shut: bool,
    /// A Ping is out.
    pub(super) pinged: bool,
    /// Not read because too much waits to be sent to it.
    pub(super) choked: bool,
    /// Not read because the room it publishes to is behind.
    pub(super) crowded: bool,
    /// Some room has news for it that its socket did not take.
    pub(super) lagging: bool,
    /// Stands in the queue for reading.
    pub(super) reading: bool,
    /// Stands in the queue for sending.
    pub(super) owing: bool,
}

impl<T: Transport, S> Peer<T, S> {
    pub(super) fn new(transport: T, id: ConnId, now: Tick) -> Self {
        Self {
            awaited: transport.announced() == Announced::Awaited,
            refused: false,
            is_admin: false,
            transport,
            conn: Conn::default(),
            outbound: Outbound::default(),
            memberships: Vec::new(),
            state: None,
            unread: Vec::new(),
            client: None,
            id,
            charged: [0; 3],
            counted: None,
            opened: now,
            seen: now,
            since: now,
            expires: Tick::NEVER,
            first_by: Tick::NEVER,
            filed: Tick::NEVER,
            readable: false,
            writable: true,
            drained: false,
            hung_up: false,
            ended: false,
            shut: false,
            pinged: false,
            choked: false,
            crowded: false,
            lagging: false,
            reading: false,
            owing: false,
        }
    }
}

impl<T, S> Peer<T, S> {
    /// Whether input is to be taken now.
    pub(super) fn may_read(&self) -> bool {
        !self.choked && !self.crowded && !matches!(self.conn.stage(), Stage::Deciding | Stage::Waiting)
    }

    /// Is not read for a while, if too much waits to be sent to it.
    pub(super) fn choke(&mut self, limits: &Limits) {
        self.choked |= self.outbound.len() > limits.outbound_bytes_high;
    }

    /// The peer has given a sign of life.
    pub(super) fn heard(&mut self, now: Tick) {
        self.seen = now;
        if self.conn.stage() == Stage::Streaming {
            // It never sends anything; that it takes what it is sent is all there is to go by.
            self.pinged = false;
        }
    }

    pub(super) fn queue_read(&mut self, queue: &mut VecDeque<ConnId>) {
        if !self.reading {
            self.reading = true;
            queue.push_back(self.id);
        }
    }

    pub(super) fn queue_flush(&mut self, queue: &mut VecDeque<ConnId>) {
        if !self.owing {
            self.owing = true;
            queue.push_back(self.id);
        }
    }

    /// When it is closed whatever it does, but for a first message.
    pub(super) fn ends(&self) -> Tick {
        self.expires.min(self.first_by)
    }

    /// When this connection is to be looked at, if nothing happens before.
    pub(super) fn due(&self, limits: &Limits) -> Tick {
        match self.conn.stage() {
            Stage::Head => self.since.after(limits.head_deadline),
            Stage::Deciding => self.since.after(limits.admission_deadline),
            Stage::Body => self.since.after(limits.body_deadline),
            Stage::Waiting => self.conn.waits_until(),
            Stage::Streaming | Stage::Open if self.pinged => {
                self.since.after(limits.pong_deadline).min(self.ends())
            }
            Stage::Streaming | Stage::Open => self.seen.after(limits.ping_interval).min(self.ends()),
            Stage::Closing => self.since.after(limits.close_deadline),
            Stage::Closed if self.shut => self.since.after(limits.linger_deadline),
            Stage::Closed => self.since.after(limits.close_deadline),
        }
    }
}
