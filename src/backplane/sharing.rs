//! Rooms that are shared, in whichever way: by nodes among themselves, or with the Django applications on a Channels layer.

use std::sync::Arc;

use super::channels::{Dialect, Layer};
use super::url::Server;
use super::{Author, Backplane, Event, Kind, Line, Target};
use crate::id::ConnId;
use crate::limits::Limits;
use crate::room::log::Keep;
use crate::room::publish::{NotPublished, Ticket};

/// Who shares the rooms, and so what is spoken with Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Nodes of Fanline: one order for all, and nothing lost without a word.
    #[default]
    Nodes,
    /// Whoever is on a Channels layer: at most once.
    Channels,
}

impl Protocol {
    /// What keys begin with, unless said otherwise.
    pub fn prefix(self) -> &'static str {
        match self {
            Protocol::Nodes => Target::PREFIX,
            Protocol::Channels => Layer::PREFIX,
        }
    }
}

/// What the rooms of a node are shared through.
#[derive(Debug)]
pub enum Sharing {
    /// The nodes' own backplane.
    Nodes(Box<Backplane>),
    /// A Channels layer.
    Layer(Box<Layer>),
}

impl From<Backplane> for Sharing {
    fn from(backplane: Backplane) -> Self {
        Sharing::Nodes(Box::new(backplane))
    }
}

impl From<Layer> for Sharing {
    fn from(layer: Layer) -> Self {
        Sharing::Layer(Box::new(layer))
    }
}

/// Does the same with either.
macro_rules! either {
    ($sharing:expr, $one:ident => $does:expr) => {
        match $sharing {
            Sharing::Nodes($one) => $does,
            Sharing::Layer($one) => $does,
        }
    };
}

impl Sharing {
    /// A link that is not up yet, to where the target says and in its protocol. `node` is random, and names this node.
    pub fn new(target: Target, limits: &Limits, node: u64) -> Self {
        match target.protocol {
            Protocol::Nodes => Backplane::new(target, limits, node).into(),
            Protocol::Channels => Layer::new(target, limits, node).into(),
        }
    }

    /// Bounds from now on.
    pub fn set_limits(&mut self, limits: &Limits) {
        either!(self, one => one.set_limits(limits));
    }

    /// The servers that the URL's names stand for, before any of them has been connected; a name may stand for several.
    pub fn set_seeds(&mut self, seeds: Vec<Server>) {
        either!(self, one => one.set_seeds(seeds));
    }

    /// Where a line leads, if there is one.
    pub fn server(&self, line: Line) -> Option<&Server> {
        either!(self, one => one.server(line))
    }

    /// All lines that there are, in use or not.
    pub fn lines(&self) -> impl Iterator<Item = Line> + use<> {
        let count = match self {
            Sharing::Nodes(backplane) => backplane.lines().count(),
            Sharing::Layer(_) => Layer::LINES.len(),
        };
        (0..count).map(Line::numbered)
    }

    /// Whether a line is to be connected now.
    pub fn wants(&self, line: Line, now_ms: u64) -> bool {
        either!(self, one => one.wants(line, now_ms))
    }

    /// Whether there is no use for a line's socket.
    pub fn is_down(&self, line: Line) -> bool {
        either!(self, one => one.is_down(line))
    }

    /// A line is being connected.
    pub fn connecting(&mut self, line: Line, now_ms: u64) {
        either!(self, one => one.connecting(line, now_ms));
    }

    /// A line is connected.
    pub fn connected(&mut self, line: Line, now_ms: u64) {
        either!(self, one => one.connected(line, now_ms));
    }

    /// A line is lost, or cannot be had.
    pub fn lost(&mut self, line: Line, why: &str, now_ms: u64) {
        either!(self, one => one.lost(line, why, now_ms));
    }

    /// What an operator is to know, if anything has happened since it was asked the last time.
    pub fn take_remark(&mut self) -> Option<String> {
        either!(self, one => one.take_remark())
    }

    /// What a line has to send; who sends it takes it out.
    pub fn output(&mut self, line: Line) -> &mut Vec<u8> {
        either!(self, one => one.output(line))
    }

    /// What has come on a line.
    pub fn receive(&mut self, line: Line, bytes: &[u8], now_ms: u64) {
        either!(self, one => one.receive(line, bytes, now_ms));
    }

    /// Lets time pass.
    pub fn tick(&mut self, now_ms: u64) {
        either!(self, one => one.tick(now_ms));
    }

    /// When [`Sharing::tick`] is to be called the next time.
    pub fn due_ms(&self) -> u64 {
        either!(self, one => one.due_ms())
    }

    /// Whether what is published goes round: a canary has come back a moment ago.
    pub fn is_ready(&self, now_ms: u64) -> bool {
        either!(self, one => one.is_ready(now_ms))
    }

    /// Bytes of memory taken up, about.
    pub fn held(&self) -> usize {
        either!(self, one => one.held())
    }

    /// The next event.
    pub fn pop_event(&mut self) -> Option<Event> {
        either!(self, one => one.pop_event())
    }

    /// Whether there are events.
    pub fn has_events(&self) -> bool {
        either!(self, one => one.has_events())
    }

    /// Begins to share a room, of which so much is kept here.
    pub fn open(&mut self, room: Arc<str>, keep: Keep, now_ms: u64) {
        match self {
            Sharing::Nodes(backplane) => backplane.open(room, keep, now_ms),
            Sharing::Layer(layer) => layer.open(room, now_ms),
        }
    }

    /// Shares a room no longer.
    pub fn close(&mut self, room: &str, now_ms: u64) {
        match self {
            Sharing::Nodes(backplane) => backplane.close(room),
            Sharing::Layer(layer) => layer.close(room, now_ms),
        }
    }

    /// Leaves for good: what is to be said to others on that is on the lines then.
    pub fn leave(&mut self, now_ms: u64) {
        match self {
            Sharing::Nodes(_) => {}
            Sharing::Layer(layer) => layer.leave(now_ms),
        }
    }

    /// Says how a room is spoken of on a Channels layer; nodes have nobody to say it to.
    pub fn speak(&mut self, room: &str, dialect: &Arc<Dialect>) {
        match self {
            Sharing::Nodes(_) => {}
            Sharing::Layer(layer) => layer.speak(room, dialect),
        }
    }

    /// Publishes to a room, of which so much is kept where it is one of this node's; how that went is an event, for who asks.
    /// The user's name is for a worker on a Channels layer.
    ///
    /// # Errors
    /// [`NotPublished::Away`], where too many are on their way already; [`NotPublished::Refused`], where it cannot be.
    pub fn publish(
        &mut self,
        (room, keep): (&str, Option<Keep>),
        said: (Kind, &[u8]),
        (author, user): (Author, Option<&str>),
        key: Option<&str>,
        now_ms: u64,
    ) -> Result<Ticket, NotPublished> {
        match self {
            Sharing::Nodes(backplane) => backplane.publish((room, keep), said, author, key, now_ms),
            Sharing::Layer(layer) => layer.publish((room, keep.is_some()), said, (author, user), key, now_ms),
        }
    }

    /// Whether all nodes together list who is in the rooms; a Channels layer knows nothing of that.
    pub fn lists_together(&self) -> bool {
        matches!(self, Sharing::Nodes(_))
    }

    /// A user has so many connections in a room here now, none when the last has gone; and whether it is announced.
    pub fn seat(&mut self, room: &Arc<str>, user: &Arc<str>, seat: (u32, bool), now_ms: u64) {
        if let Sharing::Nodes(backplane) = self {
            backplane.seat(room, user, seat, now_ms);
        }
    }

    /// Somebody has come or gone in a room.
    pub fn noticed(&mut self, room: &Arc<str>, now_ms: u64) {
        if let Sharing::Nodes(backplane) = self {
            backplane.noticed(room, now_ms);
        }
    }

    /// Tells Redis what is due of who is in the rooms, with how many members each has here.
    pub fn tell_presence(&mut self, now_ms: u64, members: impl Fn(&str) -> usize) {
        if let Sharing::Nodes(backplane) = self {
            backplane.tell_presence(now_ms, members);
        }
    }

    /// Asks who is in a room, for a connection that waits for it, as far as Redis can be asked.
    pub fn ask_who(&mut self, room: &str, page: (&str, usize), asker: ConnId, now_ms: u64) -> Option<Ticket> {
        match self {
            Sharing::Nodes(backplane) => backplane.ask_who(room, page, asker, now_ms),
            Sharing::Layer(_) => None,
        }
    }

    /// Whether so many publications are on their way that whoever publishes had better wait.
    pub fn is_crowded(&self) -> bool {
        either!(self, one => one.is_crowded())
    }

    /// How many publications have failed that nobody asked about, since it was asked the last time.
    pub fn take_failed(&mut self) -> u64 {
        either!(self, one => one.take_failed())
    }

    /// How many queues of a Channels layer were full when something was sent to them, since it was asked the last time.
    pub fn take_full(&mut self) -> u64 {
        match self {
            Sharing::Nodes(_) => 0,
            Sharing::Layer(layer) => layer.take_full(),
        }
    }
}
