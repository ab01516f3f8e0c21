//! The memory budget: how much is in use, and what is given up when that is nearly all.
//!
//! At 80 % publishers are read once a second only, at 90 % history is shortened, at 95 % new connections are told 503
//! and whoever holds the most is ended. Who stays below 95 % and does not let go comes to the same end, a second for
//! each step: nobody can hold up the publishers for good.

use std::time::Duration;

use super::handler::Handler;
use super::peer::Peer;
use super::{Engine, Shared, Transport, get};
use crate::conn::Stage;
use crate::http::response::Refusal;
use crate::id::ConnId;
use crate::metrics::memory::{Class, Memory};
use crate::planted::{Fault, is_planted};
use crate::timer::Tick;
use crate::ws::close::{CloseCode, CloseReason};

/// What is to be done about the memory in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pressure {
    None,
    /// Publishers wait.
    Hold,
    /// History is shortened, too.
    Shorten,
    /// Who holds the most is ended, too.
    Shed,
}

/// The budget, and how long it has been nearly used up.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) bytes: usize,
    /// 80, 90 and 95 % of it.
    marks: [usize; 3],
    /// What the machine has, where the limits do not say how much of that is to be used.
    machine: Option<usize>,
    /// Since when publishers wait.
    since: Option<Tick>,
    /// What has been called for since then, and when the next step is due: once for each, and then every second.
    reached: Pressure,
    next_step: Tick,
    /// Whether the last search for somebody to end for what it holds found nobody.
    in_vain: bool,
    /// Whether it does not help that publishers wait: there is nothing to be given up, nor is all used up.
    lets_publish: bool,
    /// Publishers that wait.
    pub(super) held: Vec<ConnId>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            bytes: usize::MAX,
            marks: [usize::MAX; 3],
            machine: None,
            since: None,
            reached: Pressure::None,
            next_step: Tick::default(),
            in_vain: false,
            lets_publish: false,
            held: Vec::new(),
        }
    }
}

impl Budget {
    /// How long each step is given before the next.
    const STEP: Duration = Duration::from_secs(1);

    /// Who holds less is not ended for it, unless nobody holds as much.
    const OFFENCE: usize = 64 << 10;

    fn set(&mut self, bytes: usize) {
        self.bytes = bytes;
        self.marks = [80, 90, 95].map(|percent| bytes / 100 * percent);
    }

    /// What so many bytes in use call for.
    #[inline]
    fn pressure(&self, used: usize) -> Pressure {
        let [hold, shorten, shed] = self.marks;
        match used {
            _ if used < hold => Pressure::None,
            _ if used < shorten => Pressure::Hold,
            _ if used < shed => Pressure::Shorten,
            _ => Pressure::Shed,
        }
    }

    /// What is called for now, after so long, and whether it is time to do it.
    fn step(&mut self, pressure: Pressure, now: Tick) -> (Pressure, bool) {
        if self.since.is_none() {
            (self.since, self.reached) = (Some(now), Pressure::None);
        }
        let pressure = self.escalated(pressure, now);
        let is_due = pressure > self.reached || self.next_step <= now;
        if is_due {
            (self.reached, self.next_step) = (pressure, now.after(Self::STEP));
        }
        (pressure, is_due)
    }

    /// What is called for after so long.
    fn escalated(&self, pressure: Pressure, now: Tick) -> Pressure {
        let Some(since) = self.since else { return pressure };
        let by_time = match now {
            _ if now < since.after(Self::STEP) => Pressure::Hold,
            _ if now < since.after(2 * Self::STEP) => Pressure::Shorten,
            _ => Pressure::Shed,
        };
        pressure.max(by_time)
    }
}

impl Shared {
    /// Whether publishers have to wait for memory.
    #[inline]
    pub(super) fn is_pressed(&self) -> bool {
        self.budget.since.is_some() && !self.budget.lets_publish
    }

    /// Notes what the rooms take up, and what is on its way to other nodes.
    #[inline]
    pub(super) fn charge_rooms(&self) {
        let held = self.rooms.held();
        self.metrics.memory.set(Class::Logs, held.logs);
        self.metrics.memory.set(Class::Rooms, held.rest + self.link_held());
    }

    /// Says what the machine has, and how much of it is to be used.
    fn set_budget(&mut self, machine: Option<usize>) {
        self.budget.machine = machine;
        self.budget.set(match (self.rules.limits.memory_budget, machine) {
            (0, Some(machine)) => machine / 2,
            (0, None) => usize::MAX,
            (budget, _) => budget,
        });
    }

    /// Takes over the limits as they are now.
    pub(super) fn renew_budget(&mut self) {
        self.set_budget(self.budget.machine);
    }
}

/// What a connection's memory is used for, in the order of [`Peer::holding`].
pub(super) const CLASSES: [Class; 3] = [Class::Incoming, Class::Outgoing, Class::Tls];

/// Bytes of memory that one connection takes up, by class; short, since an idle one has them too.
pub(super) type Holding = [u32; 3];

/// What one connection takes up stays far below 4 GiB: its bounds do, but for who sets them above.
#[inline]
fn short(bytes: usize) -> u32 {
    bytes.min(u32::MAX as usize) as u32
}

impl<T: Transport, S> Peer<T, S> {
    /// Whether the transport takes up what it was last known to.
    #[inline]
    pub(super) fn is_transport_charged(&self) -> bool {
        short(self.transport.held()) == self.charged[2]
    }

    /// Replies up to this length are not worth a look before they are sent.
    const LIGHT: usize = 4 << 10;

    /// Bytes of memory taken up: what comes, what goes, and what the transport keeps.
    #[inline]
    pub(super) fn holding(&self) -> Holding {
        [self.incoming(), short(self.outbound.held()), short(self.transport.held())]
    }

    #[inline]
    fn incoming(&self) -> u32 {
        short(self.conn.held() + self.unread.capacity())
    }

    /// Bytes of memory that would come back if it were ended: what it was last known to take up, and the long
    /// publication that only members like it still have.
    fn cost(&self) -> usize {
        self.charged.iter().map(|bytes| *bytes as usize).sum::<usize>() + self.outbound.left_behind()
    }

    /// Whether what goes is so little that it can be looked at once it has been sent.
    #[inline]
    pub(super) fn is_light(&self) -> bool {
        self.outbound.len() < Self::LIGHT
    }

    /// Whether what comes takes up what it was last known to.
    #[inline]
    pub(super) fn is_incoming_charged(&self) -> bool {
        self.incoming() == self.charged[0]
    }

    /// Notes what it takes up now.
    #[inline]
    pub(super) fn charge(&mut self, memory: &Memory) {
        let now = self.holding();
        let is_forgotten = is_planted(Fault::ChargeForgotten) && self.charged != [0; 3];
        if now != self.charged && !is_forgotten {
            let before = std::mem::replace(&mut self.charged, now);
            shift(memory, before, now);
        }
    }
}

#[cold]
fn shift(memory: &Memory, before: Holding, now: Holding) {
    for (class, (before, now)) in CLASSES.into_iter().zip(before.into_iter().zip(now)) {
        memory.shift(class, before as usize, now as usize);
    }
}

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Connections ended in one turn for what they hold.
    const SHED: usize = 32;

    /// Says how much memory the machine has, or its control group, for a server whose limits do not say how much it
    /// is to use: it is to be half of that.
    pub fn set_machine_memory(&mut self, bytes: Option<usize>) {
        self.shared.set_budget(bytes);
    }

    /// The memory that the server keeps within; `usize::MAX` where nobody has said.
    pub fn memory_budget(&self) -> usize {
        self.shared.budget.bytes
    }

    /// A connection gives back what it took up.
    pub(super) fn discharge(&self, charged: Holding) {
        shift(&self.shared.metrics.memory, charged, [0; 3]);
    }

    /// Notes what the table of connections takes up.
    pub(super) fn charge_table(&self) {
        let bytes = self.peers.capacity() * size_of::<Peer<T, H::State>>();
        self.shared.metrics.memory.set(Class::Connections, bytes);
    }

    /// Bytes in use past which no more is read in this turn: somebody has to let go of something first.
    pub(super) fn ceiling(&self) -> usize {
        let used = self.shared.metrics.memory.total();
        used.max(self.shared.budget.marks[2]).saturating_add(self.shared.rules.limits.read_budget)
    }

    /// Whether there is no memory for another connection.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.shared.budget.pressure(self.shared.metrics.memory.total()) == Pressure::Shed
    }

    /// How long until something is given up, if nobody lets go of anything before.
    pub(super) fn relief(&self) -> Option<Duration> {
        self.shared.budget.since.is_some().then_some(Budget::STEP)
    }

    /// Gives up what the memory in use calls for.
    pub(super) fn relieve(&mut self) {
        self.shared.charge_rooms();
        self.shared.metrics.memory.set(Class::Spare, self.shared.spares.bytes());
        if self.shared.metrics.memory.total() >= self.shared.budget.marks[0] {
            self.give_up();
        }
        // What was given up may have been enough: then nobody waits for the next step.
        let (used, budget) = (self.shared.metrics.memory.total(), &self.shared.budget);
        if used < budget.marks[0] && budget.since.is_some() {
            self.shared.budget.since = None;
            (self.shared.budget.in_vain, self.shared.budget.lets_publish) = (false, false);
            self.release_held();
            self.note_pressure(Pressure::None);
        }
    }

    #[cold]
    fn give_up(&mut self) {
        let (used, budget) = (self.shared.metrics.memory.total(), &mut self.shared.budget);
        let (pressure, is_step) = budget.step(budget.pressure(used), self.now);
        if pressure >= Pressure::Shorten {
            self.shared.spares.clear();
            self.shared.metrics.memory.set(Class::Spare, 0);
            if is_step || self.is_short_of_memory() {
                self.shared.rooms.shorten(Self::SWEEP);
                self.shared.charge_rooms();
            }
        }
        self.note_pressure(pressure);
        let is_short = self.is_short_of_memory();
        // Everybody is looked at for that: once for each step, where the last time nobody was found.
        if is_short && (is_step || !self.shared.budget.in_vain) {
            self.shared.budget.in_vain = !self.shed(self.shared.budget.marks[2], Self::SHED);
        } else if pressure == Pressure::Shed && is_step {
            self.shared.budget.in_vain = !self.shed(self.shared.budget.marks[0], 1);
        }
        self.shared.budget.lets_publish = self.shared.budget.in_vain && !is_short;
        if is_step {
            self.release_held();
        }
    }

    /// Publishers that waited are read again.
    fn release_held(&mut self) {
        for id in std::mem::take(&mut self.shared.budget.held) {
            if is_planted(Fault::HeldForgotten) {
                return;
            }
            if let Some(peer) = get(&mut self.peers, id) {
                peer.crowded = false;
                peer.queue_read(&mut self.readable);
            }
        }
    }

    /// Ends up to `count` of those who hold the most, until no more than `target` is in use, and cuts the logs where
    /// those are the most, or where that did not do. If then still nobody holds much, many hold little: as many are
    /// ended as it takes. Says whether anything came of it.
    fn shed(&mut self, target: usize, count: usize) -> bool {
        let before = self.shared.metrics.memory.total();
        if self.shared.metrics.memory.get(Class::Logs) > self.held_by_peers() {
            self.cut();
        }
        let ended = self.end_offenders(target, count, Budget::OFFENCE);
        if ended < count && self.shared.metrics.memory.total() >= target {
            self.cut();
            let used = self.shared.metrics.memory.total();
            let left_behind = self.shared.rooms.left_behind();
            // Nobody is ended for what is used in another way.
            if ended == 0 && used.saturating_sub(self.held_by_peers() + left_behind) < target {
                self.end_offenders(target, usize::MAX, 1);
            }
        }
        self.shared.metrics.memory.total() < before
    }

    /// What connections hold that comes and goes.
    fn held_by_peers(&self) -> usize {
        let memory = &self.shared.metrics.memory;
        memory.get(Class::Incoming) + memory.get(Class::Outgoing)
    }

    /// The rooms go on with what members who keep up have not been sent.
    fn cut(&mut self) {
        self.shared.rooms.cut(Self::SWEEP);
        self.shared.charge_rooms();
    }

    /// Ends up to `count` of those who hold the most, and `least` at least, until no more than `target` is in use; how
    /// many that were.
    fn end_offenders(&mut self, target: usize, count: usize, least: usize) -> usize {
        if self.shared.metrics.memory.total() < target {
            return 0;
        }
        let costs = self.peers.iter().map(|(_, peer)| (peer.cost(), peer.id));
        let mut offenders: Vec<(usize, ConnId)> = costs.filter(|(cost, _)| *cost >= least).collect();
        offenders.sort_unstable_by(|a, b| b.cmp(a));
        let mut ended = 0;
        for (_, id) in offenders.into_iter().take(count) {
            if self.shared.metrics.memory.total() < target {
                break;
            }
            self.end_offender(id);
            self.reap();
            self.shared.charge_rooms();
            ended += 1;
        }
        ended
    }

    /// Ends a connection for what it holds: with a word, where nothing else waits to be sent to it.
    fn end_offender(&mut self, id: ConnId) {
        const WHY: &str = "the server is short of memory";
        self.shared.metrics.shed.add(1);
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.unread = Vec::new();
        if !peer.outbound.is_empty() {
            return self.lose(id);
        }
        match peer.conn.stage() {
            Stage::Head | Stage::Body | Stage::Deciding => self.refuse(id, &Refusal::Unavailable(WHY).into()),
            Stage::Open => {
                let reason = CloseReason::fixed(CloseCode::TRY_AGAIN_LATER, WHY);
                // Only its Close is waited for now; nothing of ours keeps it from being read.
                (peer.choked, peer.crowded) = (false, false);
                peer.queue_read(&mut self.readable);
                if let Some(closed) = peer.conn.fail(&reason, &mut peer.outbound) {
                    peer.queue_flush(&mut self.owing);
                    self.end(id, closed);
                    self.enter_phase(id);
                }
            }
            Stage::Waiting | Stage::Streaming | Stage::Closing | Stage::Closed => self.lose(id),
        }
        if let Some(peer) = get(&mut self.peers, id) {
            peer.charge(&self.shared.metrics.memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_budget_and_each_second_brings_the_next_step() {
        let mut budget = Budget::default();
        assert_eq!(budget.pressure(usize::MAX - 1), Pressure::None, "nobody has said");
        budget.set(1000);
        let rows = [
            (0, Pressure::None),
            (799, Pressure::None),
            (800, Pressure::Hold),
            (899, Pressure::Hold),
            (900, Pressure::Shorten),
            (949, Pressure::Shorten),
            (950, Pressure::Shed),
            (5000, Pressure::Shed),
        ];
        for (used, want) in rows {
            assert_eq!(budget.pressure(used), want, "{used}");
        }
        budget.since = Some(Tick::default());
        let after = |ms| Tick::default().after(Duration::from_millis(ms));
        let rows =
            [(0, Pressure::Hold), (900, Pressure::Hold), (1100, Pressure::Shorten), (2100, Pressure::Shed)];
        for (ms, want) in rows {
            assert_eq!(budget.escalated(Pressure::Hold, after(ms)), want, "{ms}");
        }
        assert_eq!(budget.escalated(Pressure::Shed, after(0)), Pressure::Shed);
    }
}
