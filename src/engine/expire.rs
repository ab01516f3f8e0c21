//! Time: deadlines, pings, and what happens to whoever lets them pass.

use super::handler::Handler;
use super::{Engine, Transport, get};
use crate::conn::Stage;
use crate::http::response::Refusal;
use crate::id::ConnId;
use crate::timer::Tick;
use crate::ws::frame::Opcode;

impl<H: Handler, T: Transport> Engine<H, T> {
    /// Looks at the connections that may be due.
    pub(super) fn expire(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.expire(self.now, &mut due);
        for (id, filed) in due.drain(..) {
            let is_current = get(&mut self.peers, id).is_some_and(|peer| peer.filed == filed);
            if is_current {
                self.look_at(id);
            }
        }
        self.due = due;
        self.age_spares();
    }

    /// Lets go of long buffers that have served nobody for a while.
    fn age_spares(&mut self) {
        if self.aging.is_some_and(|due| due <= self.now) {
            self.aging = None;
            self.shared.spares.age();
        }
        if self.aging.is_none() && self.shared.spares.bytes() > 0 {
            let due = self.now.after(Self::SPARE_IDLE);
            self.aging = Some(due);
            self.wheel.file(ConnId::from_bits(u64::MAX), due);
        }
    }

    fn look_at(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.filed = Tick::NEVER;
        if peer.crowded {
            // It is our own room that keeps it from being heard.
            peer.seen = self.now;
            peer.pinged = false;
        }
        if peer.due(&self.shared.rules.limits) <= self.now {
            match peer.conn.stage() {
                Stage::Open if !peer.pinged => self.ping(id),
                Stage::Deciding => {
                    self.refuse(id, &Refusal::Unavailable("the decision took too long").into())
                }
                Stage::Head | Stage::Open | Stage::Closing | Stage::Closed => self.lose(id),
            }
        }
        self.schedule(id);
    }

    /// §5.5.2: a Ping as a keepalive; any byte that comes back is an answer.
    fn ping(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.outbound.push_control(Opcode::Ping, b"", self.shared.rules.limits.control_bytes_max);
        peer.pinged = true;
        peer.since = self.now;
        peer.queue_flush(&mut self.owing);
    }

    /// A phase begins now, with its own deadline.
    pub(super) fn enter_phase(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        peer.since = self.now;
        peer.seen = self.now;
        peer.pinged = false;
        self.schedule(id);
    }

    /// Sees to it that the wheel holds the connection no later than it is due.
    pub(super) fn schedule(&mut self, id: ConnId) {
        let Some(peer) = get(&mut self.peers, id) else { return };
        let due = peer.due(&self.shared.rules.limits);
        if due < peer.filed {
            peer.filed = due;
            self.wheel.file(id, due);
        }
    }
}
