//! What the engine measures: the loop's turns, what each connection's input takes, and whether the server is ready.

use std::time::Instant;

use super::handler::Handler;
use super::notable::address;
use super::{Engine, Shared, Transport};
use crate::id::ConnId;
use crate::ledger::Clock;
use crate::ledger::health::Counts;
use crate::ledger::slow::{Overrun, Whose};
use crate::ledger::snapshot::{Readings, Snapshot};

impl Shared {
    /// Calls of the handler so far, for messages and requests.
    #[inline]
    pub(super) fn calls(&self) -> u64 {
        self.metrics.messages.get() + self.metrics.requests.get()
    }

    fn counts(&self) -> Counts {
        let ledger = self.rooms.ledger();
        Counts {
            calls: self.calls(),
            deliveries: ledger.outcomes().sent,
            bytes_out: ledger.bytes(),
            bytes_in: self.metrics.bytes_in.get(),
            accepts: self.metrics.accepted.get(),
        }
    }

    /// Notes what one connection's input has taken; returns when the next one's begins.
    #[inline]
    pub(super) fn handled(&mut self, id: ConnId, began_ns: u64, calls: u64) -> u64 {
        let calls = self.calls() - calls;
        let ledger = self.rooms.ledger_mut();
        let now_ns = ledger.tick();
        ledger.health.handled(id, (ledger.turn_ns(), began_ns, now_ns), calls);
        now_ns
    }

    /// What the ledger knows.
    pub(super) fn ledger(&mut self) -> Snapshot {
        let limits = &self.rules.limits;
        let ledger = self.rooms.ledger_mut();
        let now_ns = ledger.now_ns();
        let health = ledger.health.show(now_ns, limits);
        let ledger = self.rooms.ledger();
        Snapshot {
            is_on: ledger.is_on(),
            outcomes: ledger.outcomes(),
            bytes: ledger.bytes(),
            all: ledger.all().stages(),
            lately: ledger.lately(),
            classes: ledger.classes(),
            rooms: self.rooms.busiest(),
            health,
            slow_turns: ledger.health.slow.latest(),
            slow_counts: ledger.health.slow.counts(),
        }
    }

    /// What the ledger knows, with its histograms.
    pub(super) fn readings(&mut self) -> Readings {
        let snapshot = self.ledger();
        let ledger = self.rooms.ledger();
        let parts = ledger.health.histograms().map(|(part, times)| (part, times.clone()));
        let answers = ledger.health.answers().cloned().unwrap_or_default();
        Readings { snapshot, classes: ledger.by_class(), answers, parts: parts.collect() }
    }

    /// Why nobody new is to be sent here, if so.
    pub(super) fn unready(&mut self) -> Option<&'static str> {
        let limits = &self.rules.limits;
        let ledger = self.rooms.ledger_mut();
        let now_ns = ledger.now_ns();
        let is_late = ledger.health.lag(now_ns, limits) > limits.ready_lag_max;
        let is_deaf = ledger.health.is_deaf;
        match () {
            () if self.is_draining => Some("the server is about to end"),
            () if is_deaf => Some("a listener takes in nobody"),
            () if is_late => Some("a turn of the loop took too long a moment ago"),
            () if !self.is_ready() => Some("the backplane does not answer"),
            () => None,
        }
    }
}

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Says which clock to read within turns; without one no time passes in a turn.
    pub fn set_clock(&mut self, clock: Clock) {
        self.shared.rooms.ledger_mut().set_clock(clock, self.start);
    }

    /// A turn begins, as soon as the poller has returned: what is done before [`Engine::turn`] belongs to it, too.
    pub fn begin_turn(&mut self, now: Instant) {
        self.set_time(now);
        let counts = self.shared.counts();
        self.shared.rooms.ledger_mut().health.begin_turn(counts);
    }

    /// A turn is over, with all that is done after [`Engine::turn`]; what is to be said of it, if it took too long.
    pub fn end_turn(&mut self) -> Option<Overrun> {
        let ledger = self.shared.rooms.ledger_mut();
        let turn = (ledger.turn_ns(), ledger.read_clock());
        if !ledger.health.end_turn(turn, &self.shared.rules.limits) {
            return None;
        }
        self.overran(turn)
    }

    /// A turn was too long: remembers it, with whose input took the longest.
    #[cold]
    fn overran(&mut self, turn: (u64, u64)) -> Option<Overrun> {
        // Who is ready when the next turn begins has waited for this one, and is counted then.
        self.has_been_busy = true;
        let counts = self.shared.counts();
        let longest = self.shared.rooms.ledger().health.longest_in_turn();
        let whose = longest.map(|handling| self.whose(handling.conn)).unwrap_or_default();
        let at_ms = self.shared.now_ms + turn.1.saturating_sub(turn.0) / 1_000_000;
        let health = &mut self.shared.rooms.ledger_mut().health;
        health.overrun(turn, counts, (at_ms, whose), &self.shared.rules.limits)
    }

    /// Whose connection it is; one that has ended meanwhile is nobody's.
    fn whose(&self, id: ConnId) -> Whose {
        let Some(peer) = self.peers.get(id.slot()).filter(|peer| peer.id == id) else {
            return Whose::default();
        };
        Whose { route: self.route(peer), user: self.identity(id).user, address: Some(address(peer)) }
    }

    /// Says how many wait at the listeners, and whether one of them takes in nobody for a while.
    pub fn set_door(&mut self, accept_backlog: usize, is_deaf: bool) {
        let health = &mut self.shared.rooms.ledger_mut().health;
        (health.accept_backlog, health.is_deaf) = (accept_backlog, is_deaf);
    }

    /// When the first connection's read begins: the poller's return, unless there was something to do before.
    pub(super) fn begin_to_read(&mut self) -> u64 {
        let was_busy = std::mem::take(&mut self.has_been_busy) || self.shared.is_linked();
        let ledger = self.shared.rooms.ledger_mut();
        if was_busy {
            ledger.health.resumed(self.readable.len());
            return ledger.tick();
        }
        ledger.now_ns()
    }

    /// What the ledger knows.
    pub fn ledger(&mut self) -> Snapshot {
        self.shared.ledger()
    }
}
