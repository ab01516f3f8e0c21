//! The client side of a load: very many connections on one thread.
//!
//! A [`Swarm`] owns the sockets and reads frames; a [`Workload`] says what to do with what they say. The workload's loop
//! stays in charge: it calls [`Swarm::turn`] with the time it can spare, and keeps its plan between turns. A turn
//! handles few events, so that a plan is kept to within tens of microseconds also under load.

mod alarm;
mod frame;
mod peer;
mod target;

pub(crate) use frame::{Message, Opcode, Premasked};
pub(crate) use peer::{Ending, Peer, Traffic};
#[cfg(test)]
pub(crate) use target::accept_for;
pub(crate) use target::{Target, split};

use alarm::Alarm;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Events in one turn: 32 deliveries take this side about 50 µs.
const EVENTS_PER_TURN: usize = 32;

/// One receive buffer serves all connections.
const RECEIVE_BYTES: usize = 64 * 1024;

/// Handshakes under way at a time: enough to keep a server busy, well within its backlog.
pub(crate) const HANDSHAKE_WINDOW: usize = 256;

/// Without any progress for so long, a handshake is given up.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);

/// The token of the alarm, which no connection has.
const ALARM: Token = Token(usize::MAX - 1);

/// The longest sleep, where the alarm does not end it before.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What to do with what connections say. Each is called with the connection, to answer on it at once.
pub(crate) trait Workload {
    /// The handshake is done; without one, TCP is connected.
    fn opened(&mut self, peer: &mut Peer);
    /// A message or a pong came; `at` is when its bytes were read.
    fn message(&mut self, peer: &mut Peer, message: Message<'_>, at: Instant);
    /// Bytes came on a connection that speaks no WebSocket; `at` is when they were read.
    fn bytes(&mut self, _peer: &mut Peer, _bytes: &[u8], _at: Instant) {}
    /// It is over, or never began.
    fn ended(&mut self, peer: &mut Peer, ending: Ending);
}

/// How a connection is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// By a FIN, as a process leaves it that ends.
    Fin,
    /// By a reset.
    Reset,
}

/// A connection of a [`Swarm`]; it stays valid until the turn after the connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PeerId(usize);

/// All connections of a run.
pub(crate) struct Swarm {
    poll: Poll,
    alarm: Alarm,
    events: Events,
    peers: Slab<Peer>,
    buffer: Box<[u8]>,
    ended: Vec<usize>,
}

impl Swarm {
    /// Without connections yet.
    ///
    /// # Errors
    /// When the kernel gives no poller.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            peers: Slab::new(),
            buffer: vec![0; RECEIVE_BYTES].into_boxed_slice(),
            ended: Vec::new(),
        })
    }

    /// Connections that have not ended.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Begins one connection; the workload is told when it is open.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub(crate) fn connect(&mut self, target: &Rc<Target>, seat: usize) -> io::Result<PeerId> {
        let stream = target.connect()?;
        let entry = self.peers.vacant_entry();
        let key = entry.key();
        let peer = entry.insert(Peer::new(seat, stream, Rc::clone(target)));
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(peer.stream(), Token(key), interest)?;
        Ok(PeerId(key))
    }

    /// The connection, unless it has ended.
    pub(crate) fn peer(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(id.0)
    }

    /// Every connection that has not ended.
    pub(crate) fn peers(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.peers.iter_mut().map(|(_, peer)| peer)
    }

    /// Sleeps until `due` at the latest, to within the kernel's own delay of some 50 µs, and handles the first few events.
    ///
    /// # Errors
    /// When the poller fails; what happens to one connection is told to the workload.
    pub(crate) fn turn_until(&mut self, due: Instant, workload: &mut impl Workload) -> io::Result<()> {
        let now = Instant::now();
        if due <= now {
            return self.turn(Duration::ZERO, workload);
        }
        self.alarm.set(due, now)?;
        self.turn(SLEEP_MAX, workload)
    }

    /// Waits for at most `patience` and handles the first few events.
    ///
    /// # Errors
    /// When the poller fails; what happens to one connection is told to the workload.
    pub(crate) fn turn(&mut self, patience: Duration, workload: &mut impl Workload) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &self.events {
            let Some(peer) = self.peers.get_mut(event.token().0) else { continue };
            let over = peer.has_ended();
            if event.is_writable() {
                peer.writable(workload);
            }
            if event.is_read_closed() || event.is_error() {
                peer.note_hung_up();
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                peer.readable(&mut self.buffer, event.is_read_closed() || event.is_error(), workload);
            }
            if !over && peer.has_ended() {
                self.ended.push(event.token().0);
            }
        }
        self.bury();
        Ok(())
    }

    /// Reads one connection now, whatever the poller says: thousands of others may be ready before it, and they are not to
    /// delay what is measured on this one.
    pub(crate) fn visit(&mut self, id: PeerId, workload: &mut impl Workload) {
        let Some(peer) = self.peers.get_mut(id.0) else { return };
        peer.readable(&mut self.buffer, false, workload);
        if peer.has_ended() {
            self.ended.push(id.0);
        }
        self.bury();
    }

    /// Reads at most `most` bytes of one connection, also where it has stopped reading.
    pub(crate) fn sip(&mut self, id: PeerId, most: usize, workload: &mut impl Workload) {
        let Some(peer) = self.peers.get_mut(id.0).filter(|peer| !peer.has_ended()) else { return };
        let most = most.min(RECEIVE_BYTES);
        peer.sip(&mut self.buffer[..most], workload);
        if peer.has_ended() {
            self.ended.push(id.0);
        }
        self.bury();
    }

    /// Ends a connection between two turns, without a word to the server or to the workload; its id is nobody's then.
    pub(crate) fn cut(&mut self, id: PeerId, cut: Cut) {
        if let Some(peer) = self.peers.try_remove(id.0)
            && cut == Cut::Reset
        {
            peer.end_with_reset();
        }
    }

    /// Slots are freed last, so that within a turn a number means one connection.
    fn bury(&mut self) {
        for key in self.ended.drain(..) {
            self.peers.remove(key);
        }
    }

    /// Opens `count` connections, [`HANDSHAKE_WINDOW`] at a time, with the seats from `first_seat` on, and returns them
    /// in the order of their seats.
    ///
    /// # Errors
    /// When one of them cannot be opened: which, and why.
    pub(crate) fn open(
        &mut self,
        target: &Rc<Target>,
        first_seat: usize,
        count: usize,
    ) -> Result<Vec<PeerId>, String> {
        let failed =
            |seat: usize, why: &dyn std::fmt::Display| format!("connection {seat} of {count}: {why}");
        let mut ids = Vec::with_capacity(count);
        let mut opening = Opening::default();
        let mut progress = (0, Instant::now());
        while opening.opened < count {
            while ids.len() < count && ids.len() - opening.opened < HANDSHAKE_WINDOW {
                let seat = first_seat + ids.len();
                ids.push(self.connect(target, seat).map_err(|error| failed(seat, &error))?);
            }
            self.turn(Duration::from_millis(100), &mut opening).map_err(|error| error.to_string())?;
            if let Some((seat, ending)) = opening.failed {
                return Err(failed(seat, &ending));
            }
            if opening.opened > progress.0 {
                progress = (opening.opened, Instant::now());
            } else if progress.1.elapsed() > HANDSHAKE_PATIENCE {
                return Err(failed(first_seat + opening.opened, &"the handshake got no answer"));
            }
        }
        Ok(ids)
    }
}

/// The workload while connections are opened: it counts them, and the first failure ends it.
#[derive(Default)]
struct Opening {
    opened: usize,
    failed: Option<(usize, Ending)>,
}

impl Workload for Opening {
    fn opened(&mut self, _: &mut Peer) {
        self.opened += 1;
    }

    /// What a server says before all are here (a greeting, say) is of no concern yet.
    fn message(&mut self, _: &mut Peer, _: Message<'_>, _: Instant) {}

    fn ended(&mut self, peer: &mut Peer, ending: Ending) {
        self.failed.get_or_insert((peer.seat, ending));
    }
}

#[cfg(test)]
mod tests;
