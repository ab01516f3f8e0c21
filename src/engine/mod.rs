//! The server without sockets: connections, handler, rooms and time, over any transport.
//!
//! A turn reads from those who are ready, lets time pass, sends what is owed, and takes one slice of the walk. Whoever
//! drives the engine, a poller or a simulator, says who is ready and what time it is.

mod addresses;
mod budget;
mod client;
mod command;
mod connect;
mod context;
mod cors;
mod drain;
mod exchange;
mod expire;
mod flush;
pub mod handler;
mod handover;
mod invariants;
mod link;
mod look;
mod measure;
mod notable;
mod open;
mod opening;
mod peer;
mod pressure;
mod read;
mod reload;
mod rules;
pub mod survey;
pub mod vitals;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

pub use command::Command;
pub use context::{Context, SendError};
pub use exchange::{Exchange, Reply};
pub use opening::Opening;
pub use peer::Transport;
pub use rules::Rules;

use crate::backplane::Author;
use crate::conn::Stage;
use crate::id::ConnId;
use crate::ledger::{End, ns_between};
use crate::metrics::Metrics;
use crate::outbound::Queue;
use crate::planted::{Fault, is_planted};
use crate::room::press::Press;
use crate::room::publish::{NotPublished, Post, Published};
use crate::room::rooms::Rooms;
use crate::spare::Spares;
use crate::timer::{Tick, Wheel};
use crate::ws::deflate::{Deflater, Inflater};
use crate::ws::message::Message;
use addresses::Addresses;
use drain::Pace;
use handler::Handler;
use link::Link;
use notable::Notes;
use peer::Peer;
use pressure::Budget;
use survey::Surveys;

/// What a handler's call may touch besides its own connection.
struct Shared {
    rules: Rules,
    rooms: Rooms,
    deflater: Deflater,
    spares: Spares,
    metrics: Arc<Metrics>,
    commands: VecDeque<Command>,
    budget: Budget,
    notes: Notes,
    /// Whether the server is about to end: nobody new is to be sent here.
    is_draining: bool,
    /// What the rooms are shared through, where there are other nodes.
    link: Option<Box<Link>>,
    /// How many connections there are.
    connections: usize,
    /// When the loop began, and the time now, in milliseconds since 1970.
    start_ms: u64,
    now_ms: u64,
}

impl Shared {
    fn publish(
        &mut self,
        room: &str,
        message: Message<'_>,
        post: Post<'_>,
    ) -> Result<Published, NotPublished> {
        if self.is_linked() {
            let sent = self.publish_to_all(room, message, (Author::Server, None), post.key);
            return sent.and_then(|(ticket, _)| Err(NotPublished::Pending(ticket)));
        }
        let mut press = Press::new(&mut self.deflater, &self.rules.limits, &self.metrics);
        let published = self.rooms.publish(room, message, post, &mut press);
        match &published {
            Ok(published) if published.repeated => self.metrics.publications_repeated.add(1),
            Ok(_) => self.metrics.publications.add(1),
            Err(_) => self.metrics.publications_unheard.add(1),
        }
        self.charge_rooms();
        published
    }

    /// The tick that is `unix_ms` after 1970.
    fn tick_at(&self, unix_ms: u64) -> Tick {
        Tick::default().after(Duration::from_millis(unix_ms.saturating_sub(self.start_ms)))
    }
}

/// The engine; `H` is the application, `T` what connects it to a peer.
pub struct Engine<H: Handler, T> {
    handler: H,
    peers: Slab<Peer<T, H::State>>,
    shared: Shared,
    inflater: Inflater,
    addresses: Addresses,
    /// Connections that are there only to read that there was no place for them.
    refusals: usize,
    /// The one receive buffer.
    buffer: Vec<u8>,
    /// Buffers of outgoing queues that have emptied.
    #[expect(
        clippy::vec_box,
        reason = "a connection holds a box or nothing, and the boxes are what is passed on"
    )]
    spare: Vec<Box<Queue>>,
    /// Connections that may have something to read.
    readable: VecDeque<ConnId>,
    /// Connections that may have something to send.
    owing: VecDeque<ConnId>,
    /// Connections whose slot is freed when the turn ends.
    dead: Vec<ConnId>,
    wheel: Wheel,
    due: Vec<(ConnId, Tick)>,
    /// Whether something was done in this turn before connections are read.
    has_been_busy: bool,
    start: Instant,
    now: Tick,
    generation: u32,
    /// When the house is kept the next time: old history, and long buffers that nobody uses.
    housekeeping: Option<Tick>,
    /// The connections that are being closed at a pace, while the server drains.
    pace: Option<Pace>,
    /// Whether somebody may still come in; a server that drains does not end before nobody can.
    is_listening: bool,
    /// By when all connections are gone: everybody has been told that the server stops.
    stopping: Option<Tick>,
    /// The looks through connections and rooms that have begun.
    surveys: Surveys,
    /// Connections that came through a listener for those who run the server, and have places of their own.
    admins: usize,
}

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Emptied outgoing buffers kept for the next connection that has something to say.
    const SPARE_MAX: usize = 64;

    /// How often the house is kept, while there is something to keep.
    const HOUSEKEEPING: Duration = Duration::from_secs(5);

    /// Rooms looked through each time: well below a millisecond, and 100,000 of them in four minutes. It bounds nothing
    /// that an operator would set: how long history is kept is the room's to say, whoever asks is never shown more than
    /// that, and only the memory of rooms that nobody touches comes back a little later.
    const SWEEP: usize = 2048;

    /// An engine without connections. `unix` is the time since 1970 at `start`; the rooms' epochs count up from its
    /// microseconds, which is more than an earlier run can have used up at less than a million rooms a second.
    pub fn new(handler: H, rules: Rules, metrics: Arc<Metrics>, start: Instant, unix: Duration) -> Self {
        let mut rooms = Rooms::new(&rules.limits, (unix.as_micros() as u64).max(1));
        if rules.ledger {
            rooms.ledger_mut().turn_on();
        }
        let start_ms = unix.as_millis() as u64;
        let buffer = vec![0; rules.limits.receive_buffer];
        let spares = Spares::new(rules.limits.spare_bytes_max);
        let (deflater, commands) = (Deflater::default(), VecDeque::new());
        let inflater = Inflater::new(&rules.limits);
        let (budget, link, is_draining, now_ms) = (Budget::default(), None, false, start_ms);
        let connections = 0;
        let mut shared = Shared {
            rules,
            rooms,
            deflater,
            spares,
            metrics,
            commands,
            budget,
            notes: Notes::default(),
            link,
            is_draining,
            connections,
            start_ms,
            now_ms,
        };
        shared.renew_budget();
        Self {
            handler,
            peers: Slab::new(),
            shared,
            inflater,
            addresses: Addresses::default(),
            refusals: 0,
            buffer,
            spare: Vec::new(),
            readable: VecDeque::new(),
            owing: VecDeque::new(),
            dead: Vec::new(),
            wheel: Wheel::default(),
            due: Vec::new(),
            has_been_busy: false,
            start,
            now: Tick::default(),
            generation: 0,
            housekeeping: None,
            pace: None,
            is_listening: false,
            stopping: None,
            surveys: Surveys::default(),
            admins: 0,
        }
    }

    /// How many connections there are, in whatever phase.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The rooms.
    pub fn rooms(&self) -> &Rooms {
        &self.shared.rooms
    }

    /// The application.
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// Marks what a poller says of a connection. `hung_up` means that the peer has closed its side.
    pub fn ready(&mut self, id: ConnId, readable: bool, writable: bool, hung_up: bool) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.hung_up |= hung_up;
        if hung_up && peer.conn.stage() == Stage::Waiting {
            // Nobody is there to be answered; a client that waits for an answer does not close its side.
            return self.lose(id);
        }
        if readable || hung_up {
            peer.readable = true;
            peer.queue_read(&mut self.readable);
        }
        if writable {
            if peer.transport.resume().is_err() {
                return self.lose(id);
            }
            peer.charge(&self.shared.metrics.memory);
        }
        let is_forgotten = is_planted(Fault::EdgeForgotten) && peer.outbound.is_empty();
        if writable && !peer.writable && !is_forgotten {
            peer.writable = true;
            peer.drained = true;
            peer.queue_flush(&mut self.owing);
        }
    }

    /// One turn, from reading to reaping.
    pub fn turn(&mut self, now: Instant) {
        self.set_time(now);
        self.shared.metrics.turns.add(1);
        self.follow();
        self.read();
        self.run_commands();
        self.wake();
        self.expire();
        self.keep_pace();
        self.flush();
        self.walk();
        self.survey();
        self.release();
        self.report();
        self.shared.rooms.keep_ledger();
        if !self.dead.is_empty() {
            self.reap();
        }
        self.relieve();
        self.say_left_out();
    }

    fn set_time(&mut self, now: Instant) {
        let ns = ns_between(self.start, now);
        let ms = ns / 1_000_000;
        self.now = Tick::at_ms(ms);
        self.shared.now_ms = self.shared.start_ms + ms;
        self.shared.rooms.set_now(self.shared.now_ms);
        self.shared.rooms.ledger_mut().begin_turn(ns);
    }

    /// Whether there is something to do that no readiness announces: then the next sleep is none.
    pub fn has_work(&self) -> bool {
        !self.readable.is_empty()
            || !self.owing.is_empty()
            || !self.shared.commands.is_empty()
            || self.shared.rooms.has_news()
            || self.shared.rooms.has_woken()
            || !self.surveys.is_empty()
    }

    /// How long the next sleep may be; `None` for as long as nobody calls.
    pub fn sleep(&self, now: Instant) -> Option<Duration> {
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let link = self.link_due(now).map(Duration::from_millis);
        let leaving = self.shared.rooms.release_in_ms(self.unix_ms(now)).map(Duration::from_millis);
        let owed = self.shared.notes.throttle.due_in_ms(self.unix_ms(now)).map(Duration::from_millis);
        let due = self.wheel.sleep(self.start, now).into_iter().chain(self.relief());
        due.chain(link).chain(leaving).chain(owed).min()
    }

    /// Carries out a request from outside.
    pub fn apply(&mut self, command: Command) {
        self.has_been_busy = true;
        match command {
            Command::Publish(room, message) => {
                // Whoever published this is not there to be told; the count says whether anybody heard it.
                let _ = self.shared.publish(&room, message.as_message(), Post::default());
            }
            Command::Keep(room, keep) => self.shared.rooms.keep(&room, keep).unwrap_or_default(),
            Command::Send(id, message) => {
                // Whoever sent this is not there to be told that it cannot be sent; the count says so.
                self.with_context(id, |ctx| ctx.send(message.as_message()).unwrap_or_default());
            }
            Command::Close(id, reason) => self.close_peer(id, reason),
            Command::Admit(id) => self.decide(id, None),
            Command::Refuse(id, response) => self.decide(id, Some(response)),
            Command::Drain => self.drain_now(),
        }
    }

    /// Whether a publication to this room had better wait for the walk.
    pub fn is_crowded(&self, room: &str) -> bool {
        self.shared.rooms.is_crowded(room)
    }

    fn ids(&self) -> Vec<ConnId> {
        self.peers.iter().map(|(_, peer)| peer.id).collect()
    }

    fn run_commands(&mut self) {
        while let Some(command) = self.shared.commands.pop_front() {
            self.apply(command);
        }
    }

    /// Answers requests that have waited, as many as may be flushed in a turn, and as there is memory for.
    fn wake(&mut self) {
        let ceiling = self.ceiling();
        for _ in 0..self.shared.rules.limits.flush_budget {
            if self.shared.metrics.memory.total() > ceiling {
                return;
            }
            let Some(id) = self.shared.rooms.pop_woken() else { return };
            self.answer_parked(id);
        }
    }

    /// Slots are freed last, so that an id is valid for a whole turn.
    fn reap(&mut self) {
        while let Some(id) = self.dead.pop() {
            if get(&mut self.peers, id).is_some() {
                let peer = self.peers.remove(id.slot());
                self.shared.rooms.ledger_mut().end(End::Gone, peer.outbound.owed());
                self.discharge(peer.charged);
                self.refusals -= usize::from(peer.refused);
                self.admins -= usize::from(peer.is_admin);
                self.shared.connections -= 1;
                if let Some(counted) = peer.counted {
                    self.addresses.leave(counted);
                }
            }
        }
    }
}

/// The connection with this id, if it is still there.
fn get<T, S>(peers: &mut Slab<Peer<T, S>>, id: ConnId) -> Option<&mut Peer<T, S>> {
    peers.get_mut(id.slot()).filter(|peer| peer.id == id || is_planted(Fault::GenerationIgnored))
}
