//! The network between the engine and one client: bytes on their way, buffers that fill, edges given once, resets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;

use fanline::engine::Transport;

/// One connection, as the kernels at both ends and the way between them have it.
#[derive(Debug)]
pub struct Wire {
    /// What the client has sent and the server's kernel has not got.
    pub transit: VecDeque<u8>,
    /// What the server may read.
    arrived: VecDeque<u8>,
    /// The client has closed its side; the end travels behind what is in transit.
    pub is_ended: bool,
    has_end_arrived: bool,
    /// What the server has written and the client has not taken.
    pub to_client: VecDeque<u8>,
    /// How much of that there may be.
    buffer: usize,
    /// How much of it the server may write before the next turn.
    grant: usize,
    /// The server has been told that its buffer is full, and is owed an edge.
    is_full: bool,
    /// The server has ended its side.
    is_shut: bool,
    /// The server has let go of it.
    pub is_dropped: bool,
    /// The connection is broken: for the server everything fails.
    pub is_reset: bool,
    /// Calls that a signal will interrupt.
    pub interrupts: u8,
    /// The bytes of this client do not arrive for now.
    pub is_clogged: bool,
    /// What the poller will say, once.
    edge: Edge,
}

/// What one event of the poller says of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    pub readable: bool,
    pub writable: bool,
    pub hung_up: bool,
}

impl Wire {
    pub fn new(buffer: usize) -> Self {
        Self {
            transit: VecDeque::new(),
            arrived: VecDeque::new(),
            is_ended: false,
            has_end_arrived: false,
            to_client: VecDeque::new(),
            buffer,
            grant: usize::MAX,
            is_full: false,
            is_shut: false,
            is_dropped: false,
            is_reset: false,
            interrupts: 0,
            is_clogged: false,
            // Whoever is registered is told what it is at once.
            edge: Edge { readable: false, writable: true, hung_up: false },
        }
    }

    /// Moves up to `bytes` towards the server, and lets it write up to `grant` more.
    pub fn travel(&mut self, bytes: usize, grant: usize) {
        self.grant = grant;
        let bytes = if self.is_clogged { 0 } else { bytes.min(self.transit.len()) };
        if self.is_dropped {
            if !self.transit.is_empty() && !self.is_clogged {
                self.answer_with_reset();
            }
            return;
        }
        move_bytes(&mut self.transit, bytes, |piece| self.arrived.extend(piece));
        self.edge.readable |= bytes > 0;
        if self.is_ended && self.transit.is_empty() && !self.has_end_arrived && !self.is_clogged {
            self.has_end_arrived = true;
            (self.edge.readable, self.edge.hung_up) = (true, true);
        }
        if self.is_full && self.to_client.len() < self.buffer {
            self.is_full = false;
            self.edge.writable = true;
        }
    }

    /// The kernel of one who has gone answers whatever comes, and what it sent last is lost.
    fn answer_with_reset(&mut self) {
        self.transit.clear();
        self.to_client.clear();
        self.is_reset = true;
    }

    /// The connection breaks.
    pub fn reset(&mut self) {
        self.answer_with_reset();
        self.arrived.clear();
        self.edge = Edge { readable: true, writable: true, hung_up: true };
    }

    /// What the poller says now; nothing after that until something else happens.
    pub fn take_edge(&mut self) -> Option<Edge> {
        Some(std::mem::take(&mut self.edge)).filter(|edge| *edge != Edge::default())
    }

    /// Whether the poller has something to say, or the network something to do.
    pub fn is_busy(&self) -> bool {
        let travels = !self.is_clogged
            && (!self.transit.is_empty() || (self.is_ended && !self.has_end_arrived && !self.is_dropped));
        let has_room = self.is_full && self.to_client.len() < self.buffer;
        travels || !self.is_dropped && (has_room || self.edge != Edge::default())
    }

    /// Whether the server has everything that the client sent.
    pub fn is_read(&self) -> bool {
        self.transit.is_empty() && self.arrived.is_empty()
    }

    /// Whether the client reads the end behind what there is to take.
    pub fn is_over(&self) -> bool {
        self.is_shut || self.is_dropped
    }

    pub fn has_room(&self) -> bool {
        self.to_client.len() < self.buffer
    }
}

/// Takes so many bytes from the front, in two pieces at the most: one by one they take most of a debug build's time.
pub fn move_bytes(from: &mut VecDeque<u8>, len: usize, mut to: impl FnMut(&[u8])) {
    let (front, back) = from.as_slices();
    let in_front = len.min(front.len());
    to(&front[..in_front]);
    to(&back[..len - in_front]);
    from.drain(..len);
}

/// The engine's end.
pub struct EngineEnd(pub Rc<RefCell<Wire>>);

impl EngineEnd {
    fn interrupted(wire: &mut Wire) -> io::Result<()> {
        match wire.interrupts.checked_sub(1) {
            Some(left) => {
                wire.interrupts = left;
                Err(ErrorKind::Interrupted.into())
            }
            None => Ok(()),
        }
    }
}

impl Drop for EngineEnd {
    fn drop(&mut self) {
        let mut wire = self.0.borrow_mut();
        wire.is_dropped = true;
        if !wire.arrived.is_empty() {
            // Closing a socket with unread input resets the connection.
            wire.answer_with_reset();
        }
    }
}

impl Read for EngineEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        Self::interrupted(&mut wire)?;
        if wire.is_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let len = buffer.len().min(wire.arrived.len());
        if len == 0 {
            return if wire.has_end_arrived { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let mut at = 0;
        move_bytes(&mut wire.arrived, len, |piece| {
            buffer[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        });
        Ok(len)
    }
}

impl Write for EngineEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        assert!(!wire.is_shut, "a write after the end of the outgoing side");
        Self::interrupted(&mut wire)?;
        if wire.is_reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let len = bytes.len().min(wire.grant).min(wire.buffer - wire.to_client.len().min(wire.buffer));
        wire.is_full = len < bytes.len();
        if len == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        wire.grant -= len;
        wire.to_client.extend(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for EngineEnd {
    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut wire = self.0.borrow_mut();
        assert!(!wire.is_shut, "the outgoing side is ended once");
        if wire.is_reset {
            return Err(ErrorKind::NotConnected.into());
        }
        wire.is_shut = true;
        Ok(())
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(([192, 0, 2, 1], 1234).into())
    }
}
